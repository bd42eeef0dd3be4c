/**
 * A handle of a native tensor with its shape, strides and type known in TypeScript.
 *
 * **Dimension order is ggml's, the reverse of PyTorch's**: `shape[0]` is the contiguous (innermost) dimension. A
 * PyTorch weight `[out, in]` is `[in, out]` here; activations are `[features, tokens]`. Shapes always have four
 * entries, trailing ones are 1. Strides are in bytes.
 */

import { TensorError } from './errors.ts'
import { rowBytes, tensorTypes, type TensorType } from './types.ts'

export type Shape = readonly [number, number, number, number]

export interface Tensor<T extends TensorType = TensorType> {
  /** Address of the native `ggml_tensor`, whose fields are never read from TypeScript. */
  readonly handle: bigint
  readonly type: T
  readonly shape: Shape
  /** Bytes between neighbours in each dimension; the first is between elements, or blocks of a quantised type. */
  readonly strides: Shape
  /** For error messages. */
  readonly name: string
  /** Repacked by the library for fast kernels: only matrix products can read it. */
  readonly repacked: boolean
  /** Shares the memory of another tensor. */
  readonly isView: boolean
}

/**
 * Adds trailing ones up to four dimensions. Throws {@link TensorError}, naming `what`, unless there are one to four
 * positive integers.
 */
export function toShape(dimensions: readonly number[], what = 'tensor'): Shape {
  if (dimensions.length < 1 || dimensions.length > 4) {
    throw new TensorError(`${what}: ${dimensions.length} dimensions given, 1 to 4 are supported`)
  }
  for (const dimension of dimensions) {
    if (!Number.isSafeInteger(dimension) || dimension < 1) {
      throw new TensorError(`${what}: [${dimensions.join(', ')}] has a dimension that is not a positive integer`)
    }
  }
  return [dimensions[0] ?? 1, dimensions[1] ?? 1, dimensions[2] ?? 1, dimensions[3] ?? 1]
}

/** Strides of a contiguous tensor, in bytes. */
export function contiguousStrides(type: TensorType, shape: Shape): Shape {
  const s0 = tensorTypes[type].blockBytes
  const s1 = rowBytes(type, shape[0])
  const s2 = s1 * shape[1]
  return [s0, s1, s2, s2 * shape[2]]
}

/** Number of elements. */
export function elementCount(tensor: { readonly shape: Shape }): number {
  return tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3]
}

/** Whether a tensor is contiguous. With `from` 1 there may be gaps between rows, but not within them. */
export function isContiguous(tensor: Tensor, from: 0 | 1 = 0): boolean {
  const { shape, strides, type } = tensor
  const info = tensorTypes[type]
  if (strides[0] !== info.blockBytes && shape[0] !== info.blockSize) return false
  let expected = (shape[0] / info.blockSize) * info.blockBytes
  for (let i = 1; i < 4; i++) {
    const size = shape[i as 1 | 2 | 3]
    const stride = strides[i as 1 | 2 | 3]
    if (size !== 1) {
      if (i > from) {
        if (stride !== expected) return false
        expected *= size
      } else {
        expected = size * stride
      }
    }
  }
  return true
}

/** Whether each row is contiguous; there may be gaps between rows. */
export function hasContiguousRows(tensor: Tensor): boolean {
  return tensor.strides[0] === tensorTypes[tensor.type].blockBytes
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2] && a[3] === b[3]
}

/** A shape without trailing ones; at least one dimension. */
export function trimShape(shape: readonly number[]): readonly number[] {
  let rank = shape.length
  while (rank > 1 && shape[rank - 1] === 1) rank--
  return shape.slice(0, rank)
}

/** For messages: `name f32 [2048, 12]`. */
export function describe({ name, type, shape }: Tensor): string {
  return `${name ? `${name} ` : ''}${type} [${trimShape(shape).join(', ')}]`
}
