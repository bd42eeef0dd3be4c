/**
 * Conversion of weights between number formats, by the library's own routines.
 *
 * In: f32 values, rows contiguous. Out: bytes in the asked type, and back.
 */

import type { Backend } from './backend.ts'
import { TensorError } from './errors.ts'
import { fromHalfArray } from './float16.ts'
import { buildGraph } from './graph.ts'
import { callAsync } from './native.ts'
import { allocateTensors, writeTensor, type TypedArray } from './tensor-buffer.ts'
import { rowBytes, tensorTypes, type TensorType } from './types.ts'

/**
 * Stores `values` (rows of `columns`) as `type`; f32, f16 and bf16 too. Rows are spread over the backend's threads, and
 * the event loop stays free. Throws {@link TensorError} when a row does not divide into the type's blocks.
 */
export async function quantize(
  backend: Backend,
  type: TensorType,
  values: Float32Array,
  columns: number,
): Promise<Uint8Array> {
  if (columns < 1 || values.length % columns !== 0)
    throw new TensorError(`${values.length} values are no rows of ${columns}`)
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

/** bf16 or f16 bit patterns to f32, on a worker thread. */
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

/** Whether no value, and no scale of a block, is infinite or NaN. Runs on a worker thread. */
export async function isFinite(backend: Backend, type: TensorType, bytes: Uint8Array): Promise<boolean> {
  return callAsync(backend.native.validate_row_data, tensorTypes[type].id, bytes, bytes.length)
}

/** Any type back to f32: what the stored weights stand for. `data` holds rows of `columns` elements. */
export async function dequantize(
  backend: Backend,
  type: TensorType,
  data: TypedArray,
  columns: number,
): Promise<Float32Array> {
  const bytesPerRow = rowBytes(type, columns)
  if (data.byteLength % bytesPerRow !== 0)
    throw new TensorError(`${data.byteLength} bytes are no rows of ${columns} ${type}`)
  const rows = data.byteLength / bytesPerRow
  using buffer = allocateTensors(backend, { weight: { type, shape: [columns, rows] } })
  await writeTensor(backend, buffer.tensors.weight, data)
  using graph = buildGraph(backend, (g) => ({
    values: g.getRows(buffer.tensors.weight, g.input('ids', 'i32', [rows])),
  }))
  const { values } = await graph.run({ ids: Int32Array.from({ length: rows }, (_, i) => i) })
  return values
}
