/**
 * Describes one computation: inputs, operations, outputs. What model code and `src/nn` write their graphs with.
 *
 * In: tensors (weights, caches, inputs). Out: tensors that stand for results; nothing runs until the graph does. Every
 * operation checks shapes and types and throws {@link TensorError}, because ggml would end the process. Dimensions are
 * in ggml order: contiguous first, the reverse of PyTorch's. See `operations-layout.ts` and `operations-elementwise.ts`
 * for the rest of the operations.
 */

import type { Backend } from './backend.ts'
import type { Address } from './native.ts'
import { ElementwiseOperations } from './operations-elementwise.ts'
import { newTensor } from './tensor-buffer.ts'
import { hasContiguousRows, isContiguous, type Tensor } from './tensor.ts'
import { tensorTypes, type TensorType } from './types.ts'

/** Types that inputs can have. */
export type InputType = 'f32' | 'f16' | 'i32' | 'i64'

export interface RotaryOptions {
  /** Leading dimensions that are rotated; the rest pass through. Default: all of the head. */
  readonly dimensions?: number
  readonly base: number
  /**
   * `neox` pairs i with i + dimensions/2 (transformers' rotate_half); `interleaved` pairs 2i with 2i+1. Default `neox`.
   */
  readonly style?: 'neox' | 'interleaved'
  /** Divides frequencies, [dimensions/2]. */
  readonly frequencyFactors?: Tensor<'f32'>
}

export interface MultimodalRotaryOptions {
  readonly dimensions?: number
  readonly base: number
  /** Frequencies given to the temporal, height and width positions (`mrope_section`). */
  readonly sections: readonly [number, number, number]
  /** Sections interleaved as THWTHW... (Qwen3-Omni) instead of TTTHHHWWW (Qwen2.5-Omni). */
  readonly interleaved: boolean
  /** Positions are given in steps of 1 / positionSteps, a power of two. Default 1. */
  readonly positionSteps?: number
}

const ROPE_NEOX = 2
const ROPE_MROPE = 8
const ROPE_VISION = 24
const ROPE_IMROPE = 40
const PRECISION_F32 = 10

/**
 * Context length of the original model; the library reads it only when positions are stretched, which is never used
 * here.
 */
const UNSTRETCHED = 32768

export class GraphBuilder extends ElementwiseOperations {
  /** @internal */
  readonly inputs = new Map<string, Tensor<InputType>>()
  readonly #graph: Address

  /** @internal */
  constructor(backend: Backend, context: Address, graph: Address, limit: number) {
    super(backend, context, limit)
    this.#graph = graph
  }

  /** Data given at each run, by this name. */
  input<T extends InputType>(name: string, type: T, dimensions: readonly number[]): Tensor<T> {
    if (this.inputs.has(name)) this.fail('input', `${name} is declared twice`)
    this.reserve('input')
    const tensor = newTensor(this.backend, this.context, name, type, dimensions)
    this.native.set_input(tensor.handle)
    // The output mark keeps later results out of its memory.
    this.native.set_output(tensor.handle)
    this.inputs.set(name, tensor)
    return tensor
  }

  /**
   * Working memory [count], not initialised, written by {@link copyInto} and read through views. The order of
   * {@link effect} calls keeps reads after the writes they need.
   */
  workspace(count: number): Tensor<'f32'> {
    this.reserve('workspace')
    return newTensor(this.backend, this.context, 'workspace', 'f32', [count])
  }

  /**
   * Makes the graph run this operation, in the order of these calls, although no output depends on it (cache writes).
   */
  effect(tensor: Tensor): void {
    this.native.build_forward_expand(this.#graph, tensor.handle)
  }

  /** @internal Keeps a result until it was read. */
  output<T extends TensorType>(tensor: Tensor<T>): Tensor<T> {
    // Views would lose their memory to later results.
    const own = tensor.isView ? this.copy(tensor) : tensor
    this.native.set_output(own.handle)
    this.native.build_forward_expand(this.#graph, own.handle)
    return own
  }

  /**
   * Matrix product along the first dimension: weight [k, n, ...], x [k, m, ...] to [n, m, ...]; the weight broadcasts
   * over dimensions 2 and 3 of x. `exact` asks devices that compute in half precision for f32.
   */
  mulMat(weight: Tensor, x: Tensor<'f32' | 'f16'>, options: { exact?: boolean } = {}): Tensor<'f32'> {
    this.reserve('mulMat')
    if (x.repacked) this.fail('mulMat', 'the second operand is a repacked weight', weight, x)
    if (weight.shape[0] !== x.shape[0]) this.fail('mulMat', 'first dimensions differ', weight, x)
    if (x.shape[2] % weight.shape[2] !== 0 || x.shape[3] % weight.shape[3] !== 0)
      this.fail('mulMat', 'batch dimensions do not divide', weight, x)
    if (!hasContiguousRows(weight) || !hasContiguousRows(x))
      this.fail('mulMat', 'rows are not contiguous; call cont first', weight, x)
    if (weight.strides[1] < weight.strides[0])
      this.fail('mulMat', 'the first operand is transposed; call cont first', weight, x)
    if (!isMatrixType(weight.type)) this.fail('mulMat', `${weight.type} has no matrix product`, weight, x)
    // Kernels of repacked weights need x as contiguous f32 rows and, with batches, write beyond the result; neither is
    // checked there.
    if (weight.repacked) {
      if (x.type !== 'f32') this.fail('mulMat', 'a repacked weight needs f32', weight, x)
      const rows = x.shape[1] * x.shape[2] * x.shape[3]
      if (!isContiguous(x) || rows !== x.shape[1]) {
        const product = this.mulMat(weight, this.reshape(this.cont(x), x.shape[0], rows), options)
        return this.reshape(product, weight.shape[1], x.shape[1], x.shape[2], x.shape[3])
      }
    }
    const handle = this.native.mul_mat(this.context, weight.handle, x.handle)
    this.addWork(2 * weight.shape[0] * weight.shape[1] * x.shape[1] * x.shape[2] * x.shape[3])
    if (options.exact && handle !== null) this.native.mul_mat_set_prec(handle, PRECISION_F32)
    return this.made(handle, 'f32', [weight.shape[1], x.shape[1], x.shape[2], x.shape[3]])
  }

  /**
   * Matrix products with chosen experts: weights [k, n, experts], x [k, 1 or used, tokens], ids i32 [used, tokens] to
   * [n, used, tokens].
   */
  mulMatId(weights: Tensor, x: Tensor<'f32'>, ids: Tensor<'i32'>): Tensor<'f32'> {
    this.reserve('mulMatId')
    const fits =
      weights.shape[0] === x.shape[0] &&
      weights.shape[3] === 1 &&
      x.shape[3] === 1 &&
      ids.shape[2] === 1 &&
      ids.shape[3] === 1 &&
      ids.shape[1] === x.shape[2] &&
      ids.shape[0] % x.shape[1] === 0
    if (!fits) this.fail('mulMatId', 'needs [k, n, experts], [k, 1 or used, tokens], [used, tokens]', weights, x, ids)
    if (ids.type !== 'i32' || x.type !== 'f32') this.fail('mulMatId', 'needs f32 rows and i32 ids', weights, x, ids)
    if (!hasContiguousRows(weights) || !hasContiguousRows(x))
      this.fail('mulMatId', 'rows are not contiguous', weights, x)
    if (!isMatrixType(weights.type)) this.fail('mulMatId', `${weights.type} has no matrix product`, weights)
    this.addWork(2 * weights.shape[0] * weights.shape[1] * ids.shape[0] * x.shape[2])
    return this.made(this.native.mul_mat_id(this.context, weights.handle, x.handle, ids.handle), 'f32', [
      weights.shape[1],
      ids.shape[0],
      x.shape[2],
      1,
    ])
  }

  /**
   * One expert of weights [k, n, experts]: [k, n], for `mulMat` only. Experts are repacked one by one, so each stands
   * by itself.
   */
  expert(weights: Tensor, index: number): Tensor {
    this.reserve('expert')
    const [k, n, experts, one] = weights.shape
    if (one !== 1 || !Number.isInteger(index) || index < 0 || index >= experts)
      this.fail('expert', `there is no expert ${index}`, weights)
    const [, row, matrix] = weights.strides
    const handle = this.native.view_4d(this.context, weights.handle, k, n, 1, 1, row, matrix, matrix, index * matrix)
    const { repacked } = weights
    return {
      ...this.made(handle, weights.type, [k, n, 1, 1], [weights.strides[0], row, matrix, matrix], true),
      repacked,
    }
  }

  /** Adds to each chosen expert's result its bias: a [n, used, tokens] + bias [n, experts] at ids [used, tokens]. */
  addId(a: Tensor<'f32'>, bias: Tensor<'f32'>, ids: Tensor<'i32'>): Tensor<'f32'> {
    this.readable('addId', a, bias, ids)
    if (a.shape[0] !== bias.shape[0] || a.shape[1] !== ids.shape[0] || a.shape[2] !== ids.shape[1])
      this.fail('addId', 'shapes do not fit', a, bias, ids)
    return this.made(this.native.add_id(this.context, a.handle, bias.handle, ids.handle), 'f32', a.shape)
  }

  /** Rows by number: table [n, rows, d2, d3] of any float type, ids i32 [count, d2, d3] to f32 [n, count, d2, d3]. */
  getRows(table: Tensor, ids: Tensor<'i32'>): Tensor<'f32'> {
    this.readable('getRows', table, ids)
    if (ids.type !== 'i32') this.fail('getRows', 'ids must be i32', table, ids)
    if (!isMatrixType(table.type)) this.fail('getRows', 'the table must hold floats', table, ids)
    if (table.shape[2] !== ids.shape[1] || table.shape[3] !== ids.shape[2] || ids.shape[3] !== 1) {
      this.fail('getRows', 'batch dimensions differ', table, ids)
    }
    if (!hasContiguousRows(table)) this.fail('getRows', 'rows are not contiguous', table)
    return this.made(this.native.get_rows(this.context, table.handle, ids.handle), 'f32', [
      table.shape[0],
      ids.shape[0],
      table.shape[2],
      table.shape[3],
    ])
  }

  /**
   * Writes rows of x [n, count] into table [n, rows] at ids (i64 or i32) [count], converting to the table's type.
   * Returns a view of the table; give it to {@link effect} so that it runs.
   */
  setRows<T extends TensorType>(table: Tensor<T>, x: Tensor<'f32'>, ids: Tensor<'i64' | 'i32'>): Tensor<T> {
    this.readable('setRows', table, x, ids)
    const fits =
      table.shape[0] === x.shape[0] &&
      x.shape[1] === ids.shape[0] &&
      x.shape[2] === table.shape[2] &&
      x.shape[3] === table.shape[3] &&
      x.shape[2] % ids.shape[1] === 0 &&
      x.shape[3] % ids.shape[2] === 0 &&
      ids.shape[3] === 1
    if (!fits) this.fail('setRows', 'shapes do not fit', table, x, ids)
    if (x.type !== 'f32' || (ids.type !== 'i64' && ids.type !== 'i32'))
      this.fail('setRows', 'needs f32 rows and i64 or i32 ids', table, x, ids)
    if (!hasContiguousRows(x) || !hasContiguousRows(table)) this.fail('setRows', 'rows are not contiguous', table, x)
    return this.made(
      this.native.set_rows(this.context, table.handle, x.handle, ids.handle),
      table.type,
      table.shape,
      table.strides,
      true,
    )
  }

  /** Rotary positions: x [head, heads, tokens], positions i32 [tokens]. */
  rotary(x: Tensor<'f32'>, positions: Tensor<'i32'>, options: RotaryOptions): Tensor<'f32'> {
    const dimensions = this.#checkRotary('rotary', x, positions, 1, options.dimensions)
    const factors = options.frequencyFactors
    if (factors && factors.shape[0] < dimensions / 2) this.fail('rotary', 'too few frequency factors', x, factors)
    const mode = options.style === 'interleaved' ? 0 : ROPE_NEOX
    const handle = this.native.rope_ext(
      this.context,
      x.handle,
      positions.handle,
      factors?.handle ?? null,
      dimensions,
      mode,
      UNSTRETCHED,
      options.base,
      1,
      0,
      1,
      32,
      1,
    )
    return this.made(handle, 'f32', x.shape)
  }

  /**
   * Multimodal rotary positions, rotate_half style: x [head, heads, tokens], positions i32 [4 * tokens]: all temporal
   * ones, then height, then width, then the temporal ones again (interleaved sections leave some frequencies to a
   * fourth axis, which transformers gives to the temporal one).
   */
  multimodalRotary(x: Tensor<'f32'>, positions: Tensor<'i32'>, options: MultimodalRotaryOptions): Tensor<'f32'> {
    const dimensions = this.#checkRotary('multimodalRotary', x, positions, 4, options.dimensions)
    const [t, h, w] = options.sections
    const rest = dimensions / 2 - t - h - w
    // Interleaved sections may be cut off or leave a rest; consecutive ones must fill the head.
    if (rest !== 0 && !options.interleaved) {
      this.fail('multimodalRotary', `sections ${t}, ${h}, ${w} do not sum to half of ${dimensions}`, x)
    }
    const handle = this.native.rope_multi(
      this.context,
      x.handle,
      positions.handle,
      null,
      dimensions,
      new Int32Array([t, h, w, Math.max(0, rest)]),
      options.interleaved ? ROPE_IMROPE : ROPE_MROPE,
      UNSTRETCHED,
      options.base,
      1 / (options.positionSteps ?? 1),
      0,
      1,
      32,
      1,
    )
    return this.made(handle, 'f32', x.shape)
  }

  /**
   * softmax(q k / scale + mask) v in one operation: q [head, tokens, heads], k and v [head, cached, kv heads] (f16,
   * f32, or q8_0), mask f16 [cached, tokens], to [head, heads, tokens]. Query heads share key heads in consecutive
   * groups.
   */
  flashAttention(
    q: Tensor<'f32'>,
    k: Tensor,
    v: Tensor,
    mask: Tensor<'f16'> | undefined,
    scale: number,
  ): Tensor<'f32'> {
    this.readable('flashAttention', q, k, v)
    const fits =
      q.shape[0] === k.shape[0] &&
      k.shape[1] === v.shape[1] &&
      k.shape[2] === v.shape[2] &&
      q.shape[2] % k.shape[2] === 0 &&
      q.shape[3] === k.shape[3] &&
      k.shape[3] === v.shape[3]
    if (!fits) this.fail('flashAttention', 'shapes do not fit', q, k, v)
    if (!hasContiguousRows(q) || !hasContiguousRows(k) || !hasContiguousRows(v))
      this.fail('flashAttention', 'rows are not contiguous', q, k, v)
    if (mask) {
      if (mask.type !== 'f16') this.fail('flashAttention', 'the mask must be f16', mask)
      if (mask.shape[0] !== k.shape[1] || mask.shape[1] < q.shape[1] || q.shape[2] % mask.shape[2] !== 0)
        this.fail('flashAttention', 'the mask does not fit', q, k, mask)
      if (!isContiguous(mask)) this.fail('flashAttention', 'the mask is not contiguous', mask)
    }
    this.addWork(2 * (k.shape[0] + v.shape[0]) * k.shape[1] * q.shape[1] * q.shape[2] * q.shape[3])
    const handle = this.native.flash_attn_ext(
      this.context,
      q.handle,
      k.handle,
      v.handle,
      mask?.handle ?? null,
      scale,
      0,
      0,
    )
    if (handle !== null) this.native.flash_attn_ext_set_prec(handle, PRECISION_F32)
    return this.made(handle, 'f32', [v.shape[0], q.shape[2], q.shape[1], q.shape[3]])
  }

  /**
   * Gathers convolution windows of x [width, height, channels, batch] for a kernel of [kw, kh]:
   * to [kw * kh * channels, out width, out height, batch]; within a window kw runs fastest, then kh, then channels.
   */
  im2col(
    x: Tensor<'f32'>,
    kernel: readonly [number, number],
    options: {
      stride?: readonly [number, number]
      padding?: readonly [number, number]
      dilation?: readonly [number, number]
    } = {},
  ): Tensor<'f32'> {
    const [s0, s1] = options.stride ?? [1, 1]
    const [p0, p1] = options.padding ?? [0, 0]
    const [d0, d1] = options.dilation ?? [1, 1]
    const [kw, kh] = kernel
    this.readable('im2col', x)
    this.reserve('im2col')
    if (!isContiguous(x)) this.fail('im2col', 'x is not contiguous', x)
    const width = outputLength(x.shape[0], kw, s0, p0, d0)
    const height = outputLength(x.shape[1], kh, s1, p1, d1)
    if (width < 1 || height < 1) this.fail('im2col', `the kernel [${kw}, ${kh}] is larger than the padded input`, x)
    // The library takes the kernel's shape from a tensor, whose data it does not read.
    const shape = newTensor(this.backend, this.context, 'kernel shape', 'f16', [kw, kh, x.shape[2], 1])
    const handle = this.native.im2col(
      this.context,
      shape.handle,
      x.handle,
      s0,
      s1,
      p0,
      p1,
      d0,
      d1,
      true,
      tensorTypes.f32.id,
    )
    return this.made(handle, 'f32', [kw * kh * x.shape[2], width, height, x.shape[3]])
  }

  /**
   * Gathers windows over time, channels contiguous: x [channels, time] to [channels * kernel, frames]; frame t holds
   * the frames of x at t * stride, t * stride + dilation, ... one after the other.
   */
  windows(
    x: Tensor<'f32'>,
    frames: number,
    options: { kernel: number; stride?: number; dilation?: number },
  ): Tensor<'f32'> {
    const { kernel, stride = 1, dilation = 1 } = options
    const [channels, time] = x.shape
    if ((frames - 1) * stride + (kernel - 1) * dilation >= time || x.shape[2] !== 1 || x.shape[3] !== 1) {
      this.fail(
        'windows',
        `${frames} windows of ${kernel} frames, stride ${stride}, dilation ${dilation}, do not fit`,
        x,
      )
    }
    const starts = this.arange(frames, stride)
    const within = this.arange(kernel, dilation)
    const rows = this.add(this.repeat(this.reshape(starts, 1, frames), kernel, frames), within)
    const ids = this.reshape(this.cast(rows, 'i32'), kernel * frames)
    return this.reshape(this.getRows(x, ids), channels * kernel, frames)
  }

  /** 0, step, 2 step, ...: [count]. Exact for integers below 2^24. */
  arange(count: number, step = 1): Tensor<'f32'> {
    this.reserve('arange')
    if (!Number.isInteger(count) || count < 1 || Math.abs(count * step) >= 2 ** 24)
      this.fail('arange', `cannot count ${count} steps of ${step}`)
    return this.made(this.native.arange(this.context, 0, count * step, step), 'f32', [count, 1, 1, 1])
  }

  /**
   * Scatter-adds transposed-convolution columns: [kernel * channels, tokens] (kernel fastest) to
   * [(tokens - 1) * stride + kernel - 2 * padding, channels]. Time is contiguous in the result.
   */
  col2im1d(columns: Tensor<'f32'>, stride: number, channels: number, padding = 0): Tensor<'f32'> {
    this.readable('col2im1d', columns)
    if (columns.shape[0] % channels !== 0)
      this.fail('col2im1d', `rows are no multiple of ${channels} channels`, columns)
    if (!isContiguous(columns)) this.fail('col2im1d', 'the columns are not contiguous', columns)
    const kernel = columns.shape[0] / channels
    const length = (columns.shape[1] - 1) * stride + kernel - 2 * padding
    if (length < 1) this.fail('col2im1d', `padding ${padding} leaves nothing`, columns)
    return this.made(this.native.col2im_1d(this.context, columns.handle, stride, channels, padding), 'f32', [
      length,
      channels,
      1,
      1,
    ])
  }

  /**
   * Causal depthwise convolution: x [kernel - 1 + tokens, channels, batch] (time contiguous), kernel [taps, channels]
   * to [channels, tokens, batch].
   */
  depthwiseCausal(x: Tensor<'f32'>, kernel: Tensor<'f32'>): Tensor<'f32'> {
    this.readable('depthwiseCausal', x, kernel)
    const tokens = x.shape[0] - kernel.shape[0] + 1
    if (x.shape[1] !== kernel.shape[1] || tokens < 1 || x.shape[3] !== 1)
      this.fail('depthwiseCausal', 'shapes do not fit', x, kernel)
    if (!isContiguous(x) || !isContiguous(kernel)) this.fail('depthwiseCausal', 'needs contiguous tensors', x, kernel)
    return this.made(this.native.ssm_conv(this.context, x.handle, kernel.handle), 'f32', [
      x.shape[1],
      tokens,
      x.shape[2],
      1,
    ])
  }

  /**
   * Depthwise convolution over time, channels contiguous: x [channels, time], kernel [channels, taps] to
   * [channels, (time - taps) / stride + 1]; row t is the sum of kernel[k] * x[t * stride + k]. At least three channels.
   */
  depthwise(x: Tensor<'f32'>, kernel: Tensor<'f32'>, stride = 1): Tensor<'f32'> {
    this.readable('depthwise', x, kernel)
    const [channels, time] = x.shape
    const taps = kernel.shape[1]
    if (kernel.shape[0] !== channels || time < taps) this.fail('depthwise', 'shapes do not fit', x, kernel)
    if (channels < 3 || taps < 2) this.fail('depthwise', 'needs three channels and two taps at least', x, kernel)
    if (!isContiguous(x) || !isContiguous(kernel)) this.fail('depthwise', 'needs contiguous tensors', x, kernel)
    // The library recognises channels-first data by strides that grow from channels over width to height, also where
    // the width is 1.
    const image = this.permute(this.view(x, [channels, 1, time], { strides: [8, 4 * channels] }), 2, 0, 1, 3)
    const filter = this.permute(this.view(kernel, [channels, 1, taps], { strides: [8, 4 * channels, 8] }), 3, 0, 1, 2)
    this.reserve('depthwise')
    const handle = this.native.conv_2d_dw_direct(this.context, filter.handle, image.handle, 1, stride, 0, 0, 1, 1)
    const length = Math.floor((time - taps) / stride) + 1
    const row = 4 * channels
    const made = this.made(handle, 'f32', [1, length, channels, 1], [row, row, 4, row * length])
    return this.reshape(this.permute(made, 1, 2, 0, 3), channels, length)
  }

  /**
   * Rotary positions of image patches: x [head, heads, patches], positions i32 [4 * patches]: rows, columns, rows,
   * columns. The first half of the frequencies turns by the row, the second half, starting anew, by the column.
   */
  visionRotary(x: Tensor<'f32'>, positions: Tensor<'i32'>, base: number): Tensor<'f32'> {
    this.#checkRotary('visionRotary', x, positions, 4)
    const quarter = x.shape[0] / 4
    if (!Number.isInteger(quarter)) this.fail('visionRotary', 'the head size is no multiple of 4', x)
    const sections = new Int32Array([quarter, quarter, quarter, quarter])
    const handle = this.native.rope_multi(
      this.context,
      x.handle,
      positions.handle,
      null,
      x.shape[0] / 2,
      sections,
      ROPE_VISION,
      UNSTRETCHED,
      base,
      1,
      0,
      1,
      32,
      1,
    )
    return this.made(handle, 'f32', x.shape)
  }

  #checkRotary(
    operation: string,
    x: Tensor<'f32'>,
    positions: Tensor<'i32'>,
    axes: number,
    dimensions = x.shape[0],
  ): number {
    this.readable(operation, x, positions)
    if (positions.type !== 'i32' || positions.shape[0] !== x.shape[2] * axes || positions.shape[1] !== 1) {
      this.fail(operation, `needs i32 positions [${x.shape[2] * axes}] for ${x.shape[2]} tokens`, x, positions)
    }
    if (dimensions % 2 !== 0 || dimensions > x.shape[0])
      this.fail(operation, `cannot rotate ${dimensions} dimensions`, x)
    if (!hasContiguousRows(x)) this.fail(operation, 'rows are not contiguous', x)
    return dimensions
  }
}

/** Output length of a convolution along one dimension. */
export function outputLength(input: number, kernel: number, stride: number, padding: number, dilation: number): number {
  return Math.floor((input + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1
}

function isMatrixType(type: TensorType): boolean {
  return type !== 'i8' && type !== 'i16' && type !== 'i32' && type !== 'i64'
}
