/**
 * Graph operations that move or reinterpret data: views, reshapes, copies, concatenation, padding.
 *
 * Every operation checks what ggml would assert, and throws {@link TensorError} with the shapes. Dimensions are in ggml
 * order (contiguous first), strides and offsets in bytes. Nothing is computed here: operations describe a graph.
 */

import type { Backend } from './backend.ts'
import { TensorError } from './errors.ts'
import type { Address } from './native.ts'
import {
  contiguousStrides,
  describe,
  elementCount,
  isContiguous,
  sameShape,
  toShape,
  type Shape,
  type Tensor,
} from './tensor.ts'
import { rowBytes, tensorBytes, tensorTypes, type FloatType, type TensorType } from './types.ts'

type Axis = 0 | 1 | 2 | 3

export abstract class LayoutOperations {
  /** @internal */
  readonly context: Address
  /** @internal */
  readonly backend: Backend
  #created = 0
  #repeatable = true
  #work = 0
  readonly #limit: number

  /** @internal */
  constructor(backend: Backend, context: Address, limit: number) {
    this.backend = backend
    this.context = context
    this.#limit = limit
  }

  /** @internal Whether running the graph twice has the same effect as once, as writes of rows by index do. */
  get repeatable(): boolean {
    return this.#repeatable
  }

  /** @internal Floating-point operations of the matrix products described so far. */
  get work(): number {
    return this.#work
  }

  /** Number of tensors created so far. */
  get created(): number {
    return this.#created
  }

  /** The same elements in another shape; a view. The tensor must be contiguous. */
  reshape<T extends TensorType>(a: Tensor<T>, ...dimensions: number[]): Tensor<T> {
    const shape = toShape(dimensions, 'reshape')
    this.readable('reshape', a)
    if (!isContiguous(a)) this.fail('reshape', 'the tensor is not contiguous; call cont first', a)
    if (elementCount(a) !== elementCount({ shape }))
      this.fail('reshape', `to [${dimensions.join(', ')}] changes the number of elements`, a)
    if (sameShape(a.shape, shape)) return a
    return this.made(
      this.native.reshape_4d(this.context, a.handle, ...shape),
      a.type,
      shape,
      contiguousStrides(a.type, shape),
      true,
    )
  }

  /**
   * Part of the memory of `a` in another shape; a view. `strides` of dimensions 1 to 3 and `offset` are in bytes;
   * without strides the view is contiguous.
   */
  view<T extends TensorType>(
    a: Tensor<T>,
    dimensions: readonly number[],
    options: { strides?: readonly number[]; offset?: number } = {},
  ): Tensor<T> {
    const shape = toShape(dimensions, 'view')
    this.readable('view', a)
    const dense = contiguousStrides(a.type, shape)
    const given = options.strides ?? []
    const s1 = given[0] ?? dense[1]
    const s2 = given[1] ?? s1 * shape[1]
    const s3 = given[2] ?? s2 * shape[2]
    const offset = options.offset ?? 0
    const end = offset + rowBytes(a.type, shape[0]) + (shape[1] - 1) * s1 + (shape[2] - 1) * s2 + (shape[3] - 1) * s3
    if (offset < 0 || end > spanBytes(a)) {
      this.fail(
        'view',
        `[${dimensions.join(', ')}] from byte ${offset} ends at ${end}, beyond the tensor's ${spanBytes(a)} bytes`,
        a,
      )
    }
    if (offset + tensorBytes(a.type, shape) > spanBytes(a)) {
      this.fail('view', `[${dimensions.join(', ')}] overlaps itself, which the library refuses`, a)
    }
    const handle = this.native.view_4d(this.context, a.handle, ...shape, s1, s2, s3, offset)
    return this.made(handle, a.type, shape, [dense[0], s1, s2, s3], true)
  }

  /** `length` entries of one dimension from `start`; a view. */
  slice<T extends TensorType>(a: Tensor<T>, axis: Axis, start: number, length: number): Tensor<T> {
    if (start < 0 || length < 1 || start + length > a.shape[axis]) {
      this.fail('slice', `entries ${start} to ${start + length} are outside dimension ${axis}`, a)
    }
    const info = tensorTypes[a.type]
    if (axis === 0 && (start % info.blockSize !== 0 || length % info.blockSize !== 0))
      this.fail('slice', 'cuts a quantised block', a)
    if (axis === 0 && a.strides[0] !== info.blockBytes)
      this.fail('slice', 'rows are not contiguous; call cont first', a)
    const shape: [number, number, number, number] = [...a.shape]
    shape[axis] = length
    const offset = axis === 0 ? (start / info.blockSize) * info.blockBytes : start * a.strides[axis]
    if (a.strides[0] !== info.blockBytes) this.fail('slice', 'the tensor is transposed; call cont first', a)
    return this.view(a, shape, { strides: [a.strides[1], a.strides[2], a.strides[3]], offset })
  }

  /** Moves dimension i of `a` to position `to[i]`; a view. `permute(a, 0, 2, 1, 3)` swaps the two middle dimensions. */
  permute<T extends TensorType>(a: Tensor<T>, ...to: [Axis, Axis, Axis, Axis]): Tensor<T> {
    this.readable('permute', a)
    if (new Set(to).size !== 4) this.fail('permute', `(${to.join(', ')}) names a dimension twice`, a)
    const shape: [number, number, number, number] = [1, 1, 1, 1]
    const strides: [number, number, number, number] = [0, 0, 0, 0]
    for (const i of [0, 1, 2, 3] as const) {
      shape[to[i]] = a.shape[i]
      strides[to[i]] = a.strides[i]
    }
    return this.made(this.native.permute(this.context, a.handle, ...to), a.type, shape, strides, true)
  }

  /** Swaps the first two dimensions; a view. Follow with {@link cont} where an operation needs contiguous rows. */
  transpose<T extends TensorType>(a: Tensor<T>): Tensor<T> {
    return this.permute(a, 1, 0, 2, 3)
  }

  /** `a` itself when it is contiguous, else a contiguous copy. */
  cont<T extends TensorType>(a: Tensor<T>): Tensor<T> {
    if (isContiguous(a)) return a
    return this.copy(a)
  }

  /** A contiguous copy, also when `a` is contiguous. */
  copy<T extends TensorType>(a: Tensor<T>): Tensor<T> {
    this.readable('cont', a)
    return this.made(this.native.cont(this.context, a.handle), a.type, a.shape)
  }

  /** A contiguous copy in another type; `a` itself when it has this type. */
  cast<T extends FloatType | 'i32'>(a: Tensor, type: T): Tensor<T> {
    this.readable('cast', a)
    if (a.type === type) return a as Tensor<T>
    return this.made(this.native.cast(this.context, a.handle, tensorTypes[type].id), type, a.shape)
  }

  /**
   * Copies `from` into the memory of `to`, converting its type; returns a view of `to` for `effect`. A graph with such
   * writes is never restarted, because it may read what it wrote.
   */
  copyInto<T extends TensorType>(from: Tensor, to: Tensor<T>): Tensor<T> {
    this.readable('copyInto', from, to)
    this.#repeatable = false
    if (elementCount(from) !== elementCount(to)) this.fail('copyInto', 'the numbers of elements differ', from, to)
    return this.made(this.native.cpy(this.context, from.handle, to.handle), to.type, to.shape, to.strides, true)
  }

  /** Concatenates along a dimension; the sizes of all other dimensions are equal. */
  concat<T extends TensorType>(a: Tensor<T>, b: Tensor<T>, axis: Axis): Tensor<T> {
    this.readable('concat', a, b)
    const shape: [number, number, number, number] = [...a.shape]
    for (const i of [0, 1, 2, 3] as const) {
      if (i === axis) shape[i] = a.shape[i] + b.shape[i]
      else if (a.shape[i] !== b.shape[i]) this.fail('concat', `dimension ${i} differs`, a, b)
    }
    if (a.type !== b.type) this.fail('concat', 'types differ', a, b)
    if (tensorTypes[a.type].quantised) this.fail('concat', 'quantised tensors cannot be concatenated', a, b)
    return this.made(this.native.concat(this.context, a.handle, b.handle, axis), a.type, shape)
  }

  /** Repeats the whole tensor until it fills the shape; each dimension of `a` divides the new one. */
  repeat<T extends TensorType>(a: Tensor<T>, ...dimensions: number[]): Tensor<T> {
    const shape = toShape(dimensions, 'repeat')
    this.readable('repeat', a)
    if (a.shape.some((size, i) => shape[i as Axis] % size !== 0))
      this.fail('repeat', `cannot fill [${dimensions.join(', ')}]`, a)
    return this.made(this.native.repeat_4d(this.context, a.handle, ...shape), a.type, shape)
  }

  /** Adds zeros before and after, per dimension: `pad(a, [[left, right], [0, 0], ...])`. f32. */
  pad(a: Tensor<'f32'>, margins: readonly (readonly [number, number])[]): Tensor<'f32'> {
    this.readable('pad', a)
    if (margins.length > 4 || margins.some(([before, after]) => before < 0 || after < 0))
      this.fail('pad', 'needs at most four pairs, none negative', a)
    const margin = (i: number): readonly [number, number] => margins[i] ?? [0, 0]
    if (margins.every(([before, after]) => before === 0 && after === 0)) return a
    const shape = a.shape.map((size, i) => size + margin(i)[0] + margin(i)[1]) as unknown as Shape
    const handle = this.native.pad_ext(this.context, a.handle, ...margin(0), ...margin(1), ...margin(2), ...margin(3))
    return this.made(handle, 'f32', shape)
  }

  protected get native() {
    return this.backend.native
  }

  /** Wraps a native result. Contiguous unless strides are given. */
  protected made<T extends TensorType>(
    handle: Address | null,
    type: T,
    shape: Shape,
    strides?: Shape,
    isView = false,
  ): Tensor<T> {
    if (handle === null) throw new TensorError('out of memory for a tensor record')
    return {
      handle,
      type,
      shape,
      strides: strides ?? contiguousStrides(type, shape),
      name: '',
      repacked: false,
      isView,
    }
  }

  /** Before a native call: reserves a tensor, and throws when an operand is repacked and so not readable. */
  protected readable(operation: string, ...tensors: Tensor[]): void {
    this.reserve(operation)
    for (const tensor of tensors) {
      if (tensor.repacked)
        this.fail(
          operation,
          'the weight is repacked for matrix products and no other operation can read it; load it with use: other',
          ...tensors,
        )
    }
  }

  /** Counts floating-point operations, see {@link work}. */
  protected addWork(operations: number): void {
    this.#work += operations
  }

  /** Counts tensors that are about to be created. Throws when the graph has too many. */
  protected reserve(operation: string, tensors = 1): void {
    this.#created += tensors
    if (this.#created > this.#limit) {
      throw new TensorError(`${operation}: the graph is over its limit of ${this.#limit} tensors; raise maxNodes`)
    }
  }

  /** Throws {@link TensorError} with the operation and its operands. */
  protected fail(operation: string, message: string, ...tensors: Tensor[]): never {
    throw new TensorError(`${operation}(${tensors.map(describe).join(', ')}): ${message}`)
  }
}

/** Bytes from a tensor's first element to the end of its last one. */
function spanBytes(tensor: Tensor): number {
  const { shape, strides } = tensor
  const info = tensorTypes[tensor.type]
  return (
    (shape[0] / info.blockSize - 1) * strides[0] +
    info.blockBytes +
    (shape[1] - 1) * strides[1] +
    (shape[2] - 1) * strides[2] +
    (shape[3] - 1) * strides[3]
  )
}
