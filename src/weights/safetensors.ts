/**
 * Reads the header of a safetensors file: the names, types, shapes and byte ranges of its tensors. Strict: a file with
 * an invalid header is refused.
 *
 * In: a path. Out: entries with absolute byte ranges. The tensors' data is not read.
 *
 * Reference: the safetensors format (8-byte little-endian header length, JSON header, data without gaps or overlaps).
 */

import { type FileHandle, open } from 'node:fs/promises'
import { basename } from 'node:path'
import { EngineError } from '../contract/index.ts'
import { messageOf } from './message-of.ts'

/** Element types of weights. */
export type StoredFloat = 'f32' | 'f16' | 'bf16'
/** All supported element types. Integers are for buffers that no graph uses. */
export type StoredType = StoredFloat | 'i8' | 'i16' | 'i32' | 'i64' | 'u8'

interface SafetensorsEntry {
  readonly name: string
  readonly type: StoredType
  /** PyTorch order: the last dimension is contiguous. */
  readonly shape: readonly number[]
  /** Byte range in the file. */
  readonly offset: number
  readonly length: number
}

export interface SafetensorsHeader {
  readonly path: string
  readonly entries: ReadonlyMap<string, SafetensorsEntry>
  /** Texts of `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>
}

const types: Readonly<Record<string, { readonly type: StoredType; readonly bytes: number }>> = {
  F32: { type: 'f32', bytes: 4 },
  F16: { type: 'f16', bytes: 2 },
  BF16: { type: 'bf16', bytes: 2 },
  I8: { type: 'i8', bytes: 1 },
  I16: { type: 'i16', bytes: 2 },
  I32: { type: 'i32', bytes: 4 },
  I64: { type: 'i64', bytes: 8 },
  U8: { type: 'u8', bytes: 1 },
}

/** Maximum header length in bytes, as in the reference implementation. */
const largestHeader = 100_000_000

/**
 * Reads and checks the header of one file.
 *
 * Rejects with `EngineError('bad_checkpoint')`, naming the file, the tensor and the fault: a truncated file, a header
 * out of bounds, an unknown element type, a size that does not match the shape, ranges that overlap, have gaps or
 * exceed the file.
 */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsHeader> {
  const fail = failureOf(path)
  let handle: FileHandle
  try {
    handle = await open(path, 'r')
  } catch (error) {
    throw new EngineError('bad_checkpoint', `cannot open ${path}: ${messageOf(error)}`, { cause: error })
  }
  try {
    const { size } = await handle.stat()
    const prefix = Buffer.alloc(Math.min(8, size))
    await handle.read(prefix, 0, prefix.length, 0)
    const bytes = Buffer.alloc(headerLengthOf(prefix, size, fail))
    await handle.read(bytes, 0, bytes.length, 8)
    return parseHeader(bytes, path, size, fail)
  } finally {
    await handle.close()
  }
}

/** As {@link readSafetensorsHeader}, for a file in memory; errors contain `path`. */
export function parseSafetensorsHeader(bytes: Uint8Array, path: string): SafetensorsHeader {
  const fail = failureOf(path)
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const length = headerLengthOf(file.subarray(0, 8), file.length, fail)
  return parseHeader(file.subarray(8, 8 + length), path, file.length, fail)
}

type Fail = (what: string, cause?: unknown) => EngineError

function failureOf(path: string): Fail {
  return (what, cause) =>
    new EngineError('bad_checkpoint', `${basename(path)} is not a valid safetensors file: ${what}`, { cause })
}

function headerLengthOf(prefix: Buffer, size: number, fail: Fail): number {
  if (size < 8) throw fail(`it has ${size} bytes; download it again`)
  const length = prefix.readBigUInt64LE(0)
  if (length > BigInt(largestHeader)) throw fail(`its header claims ${length} bytes`)
  if (8 + Number(length) > size)
    throw fail(`its header claims ${length} bytes but the file has ${size}; download it again`)
  return Number(length)
}

function parseHeader(header: Buffer, path: string, size: number, fail: Fail): SafetensorsHeader {
  const dataStart = 8 + header.length
  let parsed: unknown
  try {
    parsed = JSON.parse(header.toString('utf8'))
  } catch (error) {
    throw fail('its header is not JSON', error)
  }
  if (!isRecord(parsed)) throw fail('its header is not a JSON object')
  const metadata: Record<string, string> = {}
  const entries = new Map<string, SafetensorsEntry>()
  for (const [name, value] of Object.entries(parsed)) {
    if (name === '__metadata__') {
      if (isRecord(value)) for (const [key, text] of Object.entries(value)) metadata[key] = String(text)
      continue
    }
    entries.set(name, checkEntry(name, value, dataStart, fail))
  }
  checkRanges([...entries.values()], dataStart, size, fail)
  return { path, entries, metadata }
}

function checkEntry(name: string, value: unknown, dataStart: number, fail: Fail): SafetensorsEntry {
  if (!isRecord(value)) throw fail(`the entry of tensor ${name} is not an object`)
  const { dtype, shape, data_offsets: offsets } = value
  if (typeof dtype !== 'string') throw fail(`tensor ${name} has no dtype`)
  const known = Object.hasOwn(types, dtype) ? types[dtype] : undefined
  if (known === undefined) {
    const hint = dtype.startsWith('F8') || dtype.startsWith('F4') ? '; get the bfloat16 checkpoint and convert it' : ''
    throw new EngineError(
      'bad_checkpoint',
      `tensor ${name} is stored as ${dtype}, which is not supported (F32, F16 and BF16 are)${hint}`,
    )
  }
  if (!isNaturalArray(shape)) throw fail(`tensor ${name} has an invalid shape`)
  if (!isNaturalArray(offsets) || offsets.length !== 2) throw fail(`tensor ${name} has invalid data_offsets`)
  const [begin, end] = [offsets[0]!, offsets[1]!]
  const elements = shape.reduce((product, dimension) => product * dimension, 1)
  if (end - begin !== elements * known.bytes) {
    throw fail(
      `tensor ${name} [${shape.join(', ')}] ${dtype} needs ${elements * known.bytes} bytes but has ${end - begin}`,
    )
  }
  return { name, type: known.type, shape, offset: dataStart + begin, length: end - begin }
}

function checkRanges(entries: readonly SafetensorsEntry[], dataStart: number, size: number, fail: Fail): void {
  let end = dataStart
  let previous = ''
  for (const entry of entries.toSorted((a, b) => a.offset - b.offset || a.length - b.length)) {
    if (entry.offset < end) throw fail(`tensors ${previous} and ${entry.name} overlap`)
    if (entry.offset > end) throw fail(`${entry.offset - end} bytes before tensor ${entry.name} belong to no tensor`)
    end = entry.offset + entry.length
    previous = entry.name
    if (end > size) {
      throw fail(`it is cut short: tensor ${entry.name} ends at byte ${end} of ${size}; download it again`)
    }
  }
  if (end !== size) throw fail(`${size - end} bytes at its end belong to no tensor`)
}

function isNaturalArray(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
