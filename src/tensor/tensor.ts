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
  /** Address of the native `ggml_tensor`. Never read through it. */
  readonly handle: bigint
  readonly type: T
  readonly shape: Shape
  /** Bytes from one element (block) to the next, per dimension. */
  readonly strides: Shape
  /** For error messages. */
  readonly name: string
  /** Rearranged by the library for fast kernels: only matrix products may read it, views may not. */
  readonly repacked: boolean
  /** Shares the memory of another tensor. */
  readonly isView: boolean
}

/** One to four dimensions to four; throws on none, too many, or a dimension that is no positive integer. */
export function toShape(dimensions: readonly number[], what = 'tensor'): Shape {
  if (dimensions.length < 1 || dimensions.length > 4) {
    throw new TensorError(`${what}: ${dimensions.length} dimensions given, 1 to 4 are possible`)
  }
  for (const dimension of dimensions) {
    if (!Number.isSafeInteger(dimension) || dimension < 1) {
      throw new TensorError(`${what}: [${dimensions.join(', ')}] has a dimension that is no positive integer`)
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

export function elementCount(tensor: { readonly shape: Shape }): number {
  return tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3]
}

/**
 * Contiguous from dimension `from` up; `from` 0 is fully contiguous, 1 lets rows have gaps. Rows themselves must be
 * whole.
 */
export function isContiguous(tensor: Tensor, from: 0 | 1 = 0): boolean {
  const { shape, strides, type } = tensor
  const info = tensorTypes[type]
  if (strides[0] !== info.blockBytes && shape[0] !== info.blockSize) return false
  let expected = (shape[0] / info.blockSize) * info.blockBytes
  for (let i = 1; i < 4; i++) {
    const extent = shape[i as 1 | 2 | 3]
    const stride = strides[i as 1 | 2 | 3]
    if (extent !== 1) {
      if (i > from) {
        if (stride !== expected) return false
        expected *= extent
      } else {
        expected = extent * stride
      }
    }
  }
  return true
}

/** Whether each row is contiguous. */
export function hasContiguousRows(tensor: Tensor): boolean {
  return tensor.strides[0] === tensorTypes[tensor.type].blockBytes
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2] && a[3] === b[3]
}

/** `name f32 [2048, 12]`, trailing ones left out. */
export function describe(tensor: Tensor): string {
  let rank = 4
  while (rank > 1 && tensor.shape[rank - 1] === 1) rank--
  return `${tensor.name ? `${tensor.name} ` : ''}${tensor.type} [${tensor.shape.slice(0, rank).join(', ')}]`
}
