/**
 * Conversion of weights between tensor types with the library's functions.
 *
 * In: f32 values, rows contiguous. Out: bytes of another type; and the reverse.
 */

import type { Backend } from './backend.ts'
import { TensorError } from './errors.ts'
import { fromHalfArray } from './float16.ts'
import { buildGraph } from './graph.ts'
import { callAsync } from './native.ts'
import { allocateTensors, writeTensor, type TypedArray } from './tensor-buffer.ts'
import { rowBytes, tensorTypes, type TensorType } from './types.ts'

/**
 * Converts `values` (rows of `columns`) to a float or quantised type, on worker threads. Rejects with
 * {@link TensorError} when values do not divide into rows, or a row does not divide into the type's blocks.
 */
export async function quantize(
  backend: Backend,
  type: TensorType,
  values: Float32Array,
  columns: number,
): Promise<Uint8Array> {
  if (columns < 1 || values.length % columns !== 0)
    throw new TensorError(`${values.length} values do not divide into rows of ${columns}`)
  const rows = values.length / columns
  const bytesPerRow = rowBytes(type, columns)
  const result = new Uint8Array(bytesPerRow * rows)
  if (type === 'i8' || type === 'i16' || type === 'i32' || type === 'i64')
    throw new TensorError(`weights cannot be stored as ${type}`)
  if (type === 'f32') {
    result.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    return result
  }
  const { native } = backend
  native.quantize_init(tensorTypes[type].id)
  const parts = Math.max(1, Math.min(backend.threads, 4, Math.floor(values.length / 65536)))
  const jobs: Promise<unknown>[] = []
  for (let part = 0; part < parts; part++) {
    const from = Math.floor((rows * part) / parts)
    const count = Math.floor((rows * (part + 1)) / parts) - from
    if (count === 0) continue
    const source = values.subarray(from * columns, (from + count) * columns)
    const target = result.subarray(from * bytesPerRow, (from + count) * bytesPerRow)
    if (type === 'f16') jobs.push(callAsync(native.fp32_to_fp16_row, source, target, source.length))
    else if (type === 'bf16') jobs.push(callAsync(native.fp32_to_bf16_row, source, target, source.length))
    else jobs.push(callAsync(native.quantize_chunk, tensorTypes[type].id, source, target, 0, count, columns, null))
  }
  await Promise.all(jobs)
  return result
}

/** bf16 or f16 bit patterns to f32; large arrays on a worker thread. */
export async function halfToFloat(
  backend: Backend,
  type: 'f16' | 'bf16',
  patterns: Uint16Array,
): Promise<Float32Array> {
  if (type === 'f16' && patterns.length < 1024) return fromHalfArray(patterns)
  const values = new Float32Array(patterns.length)
  const { native } = backend
  await callAsync(type === 'f16' ? native.fp16_to_fp32_row : native.bf16_to_fp32_row, patterns, values, patterns.length)
  return values
}

/** Whether all values, and all scales of blocks, are finite. Runs on a worker thread. */
export async function isFinite(backend: Backend, type: TensorType, bytes: Uint8Array): Promise<boolean> {
  return callAsync(backend.native.validate_row_data, tensorTypes[type].id, bytes, bytes.length)
}

/**
 * Converts rows of `columns` elements of any float or quantised type to f32. Rejects with {@link TensorError} when
 * `data` does not divide into rows.
 */
export async function dequantize(
  backend: Backend,
  type: TensorType,
  data: TypedArray,
  columns: number,
): Promise<Float32Array> {
  const bytesPerRow = rowBytes(type, columns)
  if (data.byteLength % bytesPerRow !== 0)
    throw new TensorError(`${data.byteLength} bytes do not divide into rows of ${columns} ${type} elements`)
  const rows = data.byteLength / bytesPerRow
  using buffer = allocateTensors(backend, { weight: { type, shape: [columns, rows] } })
  await writeTensor(backend, buffer.tensors.weight, data)
  using graph = buildGraph(backend, (g) => ({
    values: g.getRows(buffer.tensors.weight, g.input('ids', 'i32', [rows])),
  }))
  const { values } = await graph.run({ ids: Int32Array.from({ length: rows }, (_, i) => i) })
  return values
}
