/**
 * Element types of tensors: ids, block sizes and bytes, as ggml and GGUF files number them.
 *
 * A quantised type stores `blockSize` elements in `blockBytes` bytes along the first (contiguous) dimension.
 * Reference: `enum ggml_type` of ggml; checked against the loaded library at start (`verifyTypeTable`).
 */

import { TensorError } from './errors.ts'

interface TypeInfo {
  /** Number in ggml and in GGUF files. */
  readonly id: number
  /** Elements in one block; 1 for plain types. */
  readonly blockSize: number
  /** Bytes of one block. */
  readonly blockBytes: number
  readonly quantised: boolean
}

const plain = (id: number, bytes: number): TypeInfo => ({ id, blockSize: 1, blockBytes: bytes, quantised: false })
const block = (id: number, blockSize: number, blockBytes: number): TypeInfo => ({
  id,
  blockSize,
  blockBytes,
  quantised: true,
})

/** All supported types. */
export const tensorTypes = {
  f32: plain(0, 4),
  f16: plain(1, 2),
  bf16: plain(30, 2),
  q4_0: block(2, 32, 18),
  q4_1: block(3, 32, 20),
  q5_0: block(6, 32, 22),
  q5_1: block(7, 32, 24),
  q8_0: block(8, 32, 34),
  q2_k: block(10, 256, 84),
  q3_k: block(11, 256, 110),
  q4_k: block(12, 256, 144),
  q5_k: block(13, 256, 176),
  q6_k: block(14, 256, 210),
  i8: plain(24, 1),
  i16: plain(25, 2),
  i32: plain(26, 4),
  i64: plain(27, 8),
} as const satisfies Record<string, TypeInfo>

export type TensorType = keyof typeof tensorTypes

/** Quantised types that `quantize` can produce. */
export type QuantisedType = 'q4_0' | 'q4_1' | 'q5_0' | 'q5_1' | 'q8_0' | 'q2_k' | 'q3_k' | 'q4_k' | 'q5_k' | 'q6_k'

export type FloatType = 'f32' | 'f16' | 'bf16'

/** Id, block size and bytes of a type. */
export function typeInfo(type: TensorType): TypeInfo {
  return tensorTypes[type]
}

/** Whether a name is a tensor type. */
export function isTensorType(name: string): name is TensorType {
  return Object.hasOwn(tensorTypes, name)
}

const byId = new Map<number, TensorType>(
  Object.entries(tensorTypes).map(([name, info]) => [info.id, name as TensorType]),
)

/** The type with this number in ggml; throws {@link TensorError} for an unsupported one. */
export function typeFromId(id: number): TensorType {
  const type = byId.get(id)
  if (!type) throw new TensorError(`tensor type number ${id} is not supported`)
  return type
}

/** Bytes of one row; throws {@link TensorError} when its elements do not divide into the type's blocks. */
export function rowBytes(type: TensorType, elements: number): number {
  const info = tensorTypes[type]
  if (elements % info.blockSize !== 0) {
    throw new TensorError(
      `a row of ${elements} elements cannot be stored as ${type}: its blocks hold ${info.blockSize}; pad the row or choose another type`,
    )
  }
  return (elements / info.blockSize) * info.blockBytes
}

/** Bytes of a contiguous tensor; `shape[0]` is the contiguous dimension. */
export function tensorBytes(type: TensorType, shape: readonly number[]): number {
  let bytes = rowBytes(type, shape[0] ?? 1)
  for (let i = 1; i < shape.length; i++) bytes *= shape[i] ?? 1
  return bytes
}
