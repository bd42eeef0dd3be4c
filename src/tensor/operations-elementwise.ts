/**
 * Graph operations that work element by element or along rows: arithmetic, activations, norms, reductions, sorting.
 *
 * Rows are along the first dimension. The second operand of arithmetic broadcasts: each of its dimensions divides that
 * of the first operand. All operations check shapes and types and throw {@link TensorError}.
 */

import { LayoutOperations } from './operations-layout.ts'
import { hasContiguousRows, isContiguous, sameShape, type Tensor } from './tensor.ts'
import { tensorTypes } from './types.ts'

type Unary =
  | 'sqr'
  | 'sqrt'
  | 'log'
  | 'sin'
  | 'cos'
  | 'exp'
  | 'abs'
  | 'neg'
  | 'relu'
  | 'elu'
  | 'tanh'
  | 'sigmoid'
  | 'silu'
  | 'gelu'
  | 'gelu_erf'
  | 'cumsum'
  | 'step'

export abstract class ElementwiseOperations extends LayoutOperations {
  /** a + b, b broadcast. a may be f32 or f16; the result has a's type. */
  add<T extends 'f32' | 'f16'>(a: Tensor<T>, b: Tensor<'f32' | 'f16'>): Tensor<T> {
    return this.#binary('add', a, b)
  }

  sub<T extends 'f32' | 'f16'>(a: Tensor<T>, b: Tensor<'f32' | 'f16'>): Tensor<T> {
    return this.#binary('sub', a, b)
  }

  mul<T extends 'f32' | 'f16'>(a: Tensor<T>, b: Tensor<'f32' | 'f16'>): Tensor<T> {
    return this.#binary('mul', a, b)
  }

  div<T extends 'f32' | 'f16'>(a: Tensor<T>, b: Tensor<'f32' | 'f16'>): Tensor<T> {
    return this.#binary('div', a, b)
  }

  /** a * factor + bias, both scalars. */
  scale(a: Tensor<'f32'>, factor: number, bias = 0): Tensor<'f32'> {
    this.readable('scale', a)
    if (!isContiguous(a)) this.fail('scale', 'the tensor is not contiguous', a)
    return this.made(this.native.scale_bias(this.context, a.handle, factor, bias), 'f32', a.shape)
  }

  /** Limits values to [low, high]. */
  clamp(a: Tensor<'f32'>, low: number, high: number): Tensor<'f32'> {
    // The library clamps in place; the copy preserves the operand.
    const copy = this.copy(a)
    this.reserve('clamp')
    return this.made(this.native.clamp(this.context, copy.handle, low, high), 'f32', copy.shape, copy.strides, true)
  }

  sqr(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('sqr', a)
  }

  sqrt(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('sqrt', a)
  }

  log(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('log', a)
  }

  sin(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('sin', a)
  }

  cos(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('cos', a)
  }

  exp(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('exp', a)
  }

  abs(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('abs', a)
  }

  neg(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('neg', a)
  }

  relu(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('relu', a)
  }

  elu(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('elu', a)
  }

  tanh(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('tanh', a)
  }

  sigmoid(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('sigmoid', a)
  }

  /** x * sigmoid(x). */
  silu(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('silu', a)
  }

  /** GELU with the error function (PyTorch's default, `gelu`). Exact. */
  geluErf(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('gelu_erf', a)
  }

  /** GELU, tanh approximation (`gelu_pytorch_tanh`), from the library's f16 table: fast, less precise. */
  geluTanhTable(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('gelu', a)
  }

  /**
   * GELU, tanh approximation (`gelu_pytorch_tanh`), in f32: x * sigmoid(x u) with u = 2 sqrt(2/pi) (1 + 0.044715 x^2),
   * which equals silu(x u) / u.
   */
  geluTanh(a: Tensor<'f32'>): Tensor<'f32'> {
    const factor = 2 * Math.sqrt(2 / Math.PI)
    const x = this.cont(a)
    const u = this.scale(this.sqr(x), factor * 0.044715, factor)
    // silu has a vectorised kernel in the library, sigmoid only a scalar one.
    return this.div(this.silu(this.mul(u, x)), u)
  }

  /** silu(gate) * up; both tensors have the same shape. */
  swiglu(gate: Tensor<'f32'>, up: Tensor<'f32'>): Tensor<'f32'> {
    this.readable('swiglu', gate, up)
    if (!sameShape(gate.shape, up.shape)) this.fail('swiglu', 'shapes differ', gate, up)
    if (!isContiguous(gate, 1) || !isContiguous(up, 1)) this.fail('swiglu', 'rows are not contiguous', gate, up)
    return this.made(this.native.swiglu_split(this.context, gate.handle, up.handle), 'f32', gate.shape)
  }

  /** silu(first half) * second half of each row: [2n, ...] to [n, ...]. */
  swigluFused(a: Tensor<'f32'>): Tensor<'f32'> {
    this.readable('swigluFused', a)
    if (a.shape[0] % 2 !== 0) this.fail('swigluFused', 'rows have an odd number of elements', a)
    if (!isContiguous(a, 1)) this.fail('swigluFused', 'rows are not contiguous', a)
    const [n, d1, d2, d3] = a.shape
    return this.made(this.native.swiglu(this.context, a.handle), 'f32', [n / 2, d1, d2, d3])
  }

  /** (x - mean) / sqrt(variance + epsilon) along rows, without weight and bias. */
  layerNorm(a: Tensor<'f32'>, epsilon: number): Tensor<'f32'> {
    this.#checkRows('layerNorm', a)
    return this.made(this.native.norm(this.context, a.handle, epsilon), 'f32', a.shape)
  }

  /** x / sqrt(mean(x^2) + epsilon) along rows, without weight. */
  rmsNorm(a: Tensor<'f32'>, epsilon: number): Tensor<'f32'> {
    this.#checkRows('rmsNorm', a)
    return this.made(this.native.rms_norm(this.context, a.handle, epsilon), 'f32', a.shape)
  }

  /** x / max(norm(x), epsilon) along rows. */
  l2Norm(a: Tensor<'f32'>, epsilon: number): Tensor<'f32'> {
    this.#checkRows('l2Norm', a)
    return this.made(this.native.l2_norm(this.context, a.handle, epsilon), 'f32', a.shape)
  }

  /**
   * softmax(a * scale + mask) along rows. `mask`: [row, at least a.shape[1], ...], f16 or f32, contiguous, broadcast
   * over dimensions 2 and 3.
   */
  softMax(a: Tensor<'f32'>, options: { mask?: Tensor<'f32' | 'f16'>; scale?: number } = {}): Tensor<'f32'> {
    const { mask, scale = 1 } = options
    this.readable('softMax', a, ...(mask ? [mask] : []))
    if (!isContiguous(a)) this.fail('softMax', 'the tensor is not contiguous', a)
    if (mask) {
      const fits =
        mask.shape[0] === a.shape[0] &&
        mask.shape[1] >= a.shape[1] &&
        a.shape[2] % mask.shape[2] === 0 &&
        a.shape[3] % mask.shape[3] === 0
      if (!fits) this.fail('softMax', 'the mask does not match the tensor', a, mask)
      if (!isContiguous(mask)) this.fail('softMax', 'the mask is not contiguous', a, mask)
    }
    return this.made(this.native.soft_max_ext(this.context, a.handle, mask?.handle ?? null, scale, 0), 'f32', a.shape)
  }

  /** 1 where an element is above 0, else 0; 0 for NaN. */
  step(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('step', a)
  }

  /** Sum of each row: [n, ...] to [1, ...]. */
  sumRows(a: Tensor<'f32'>): Tensor<'f32'> {
    this.#checkRows('sumRows', a)
    return this.made(this.native.sum_rows(this.context, a.handle), 'f32', [1, a.shape[1], a.shape[2], a.shape[3]])
  }

  /** Mean of each row: [n, ...] to [1, ...]. */
  meanRows(a: Tensor<'f32'>): Tensor<'f32'> {
    this.#checkRows('meanRows', a)
    return this.made(this.native.mean(this.context, a.handle), 'f32', [1, a.shape[1], a.shape[2], a.shape[3]])
  }

  /** Cumulative sum along rows. */
  cumulativeSum(a: Tensor<'f32'>): Tensor<'f32'> {
    return this.#unary('cumsum', a)
  }

  /** Index of the largest entry of each row of a matrix: [n, rows] to [rows]. */
  argmax(a: Tensor<'f32'>): Tensor<'i32'> {
    this.#checkRows('argmax', a)
    if (a.shape[2] !== 1 || a.shape[3] !== 1) this.fail('argmax', 'needs a matrix', a)
    return this.made(this.native.argmax(this.context, a.handle), 'i32', [a.shape[1], 1, 1, 1])
  }

  /** Indices that sort each row: [n, rows] to [n, rows]. */
  argsort(a: Tensor<'f32'>, order: 'ascending' | 'descending' = 'descending'): Tensor<'i32'> {
    this.#checkRows('argsort', a)
    return this.made(this.native.argsort(this.context, a.handle, order === 'ascending' ? 0 : 1), 'i32', a.shape)
  }

  /** Indices of the k largest entries of each row, largest first: [n, rows] to a view [k, rows]. */
  topK(a: Tensor<'f32'>, k: number): Tensor<'i32'> {
    if (!Number.isInteger(k) || k < 1 || k > a.shape[0])
      this.fail('topK', `k is ${k}, must be from 1 to ${a.shape[0]}`, a)
    const sorted = this.argsort(a)
    return this.slice(sorted, 0, 0, k)
  }

  /**
   * Indices of the k largest entries of each row, unordered: [n, rows] to [k, rows]. Faster than {@link topK} on
   * long rows.
   */
  largest(a: Tensor<'f32'>, k: number): Tensor<'i32'> {
    this.#checkRows('largest', a)
    if (!Number.isInteger(k) || k < 1 || k > a.shape[0])
      this.fail('largest', `k is ${k}, must be from 1 to ${a.shape[0]}`, a)
    return this.made(this.native.top_k(this.context, a.handle, k), 'i32', [k, a.shape[1], a.shape[2], a.shape[3]])
  }

  #unary(operation: Unary, a: Tensor<'f32'>): Tensor<'f32'> {
    this.readable(operation, a)
    if (a.type !== 'f32') this.fail(operation, 'needs f32', a)
    if (!isContiguous(a, 1)) this.fail(operation, 'the tensor is not contiguous', a)
    return this.made(this.native[operation](this.context, a.handle), 'f32', a.shape)
  }

  #checkRows(operation: string, a: Tensor<'f32'>): void {
    this.readable(operation, a)
    if (a.type !== 'f32') this.fail(operation, 'needs f32', a)
    if (!hasContiguousRows(a)) this.fail(operation, 'rows are not contiguous', a)
  }

  #binary<T extends 'f32' | 'f16'>(
    operation: 'add' | 'sub' | 'mul' | 'div',
    a: Tensor<T>,
    b: Tensor<'f32' | 'f16'>,
  ): Tensor<T> {
    this.readable(operation, a, b)
    if (tensorTypes[a.type].quantised || tensorTypes[b.type].quantised) this.fail(operation, 'needs f32 or f16', a, b)
    if (a.shape.some((size, i) => size % (b.shape[i as 0 | 1 | 2 | 3] ?? 1) !== 0)) {
      this.fail(operation, 'the second shape does not divide the first', a, b)
    }
    if (!hasContiguousRows(a) || !hasContiguousRows(b)) this.fail(operation, 'rows are not contiguous', a, b)
    return this.made(this.native[operation](this.context, a.handle, b.handle), a.type, a.shape)
  }
}
