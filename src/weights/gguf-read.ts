/**
 * Reads the header of a GGUF file: metadata, and the location of each tensor.
 *
 * Reference: the GGUF specification, version 3 (little-endian). Strict: counts, lengths and ranges are checked against
 * the file.
 */

import { type FileHandle, open } from 'node:fs/promises'
import { basename } from 'node:path'
import { EngineError } from '../contract/index.ts'
import { tensorBytes, type TensorType, typeFromId } from '../tensor/index.ts'
import { messageOf } from './message-of.ts'

type GgufValue = string | number | bigint | boolean | readonly GgufValue[]

interface GgufTensor {
  readonly name: string
  readonly type: TensorType
  /** ggml order: contiguous dimension first. */
  readonly shape: readonly number[]
  /** Byte range in the file. */
  readonly offset: number
  readonly length: number
}

export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>
  readonly tensors: readonly GgufTensor[]
}

/** Numbers of metadata value types. */
export const ggufTypes = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const

/** Maximum header length in bytes, so that an invalid file is not read completely. */
const largestHeader = 1 << 29

/** Rejects with `EngineError('bad_checkpoint')`: not a valid GGUF file, truncated, or an unsupported tensor type. */
export async function readGgufHeader(path: string): Promise<GgufHeader> {
  const file = basename(path)
  let handle: FileHandle
  try {
    handle = await open(path, 'r')
  } catch (error) {
    throw new EngineError('bad_checkpoint', `cannot open ${path}: ${messageOf(error)}`, { cause: error })
  }
  try {
    const { size } = await handle.stat()
    // The file does not contain the length of its header: read more until it parses.
    for (let length = Math.min(size, 1 << 20); ; length = Math.min(size, length * 4)) {
      const bytes = Buffer.alloc(length)
      const { bytesRead } = await handle.read(bytes, 0, length, 0)
      try {
        return parseHeader(bytes.subarray(0, bytesRead), size)
      } catch (error) {
        if (error === truncated && length < size && length < largestHeader) continue
        if (error === truncated) throw invalid(file, 'its header is cut short; convert or download it again')
        if (error instanceof EngineError) throw error
        throw invalid(file, messageOf(error), error)
      }
    }
  } finally {
    await handle.close()
  }
}

function invalid(file: string, what: string, cause?: unknown): EngineError {
  return new EngineError('bad_checkpoint', `${file} is not a valid GGUF file: ${what}`, { cause })
}

/** Thrown when the available bytes end inside the header. */
const truncated = new Error('truncated')

function parseHeader(bytes: Buffer, size: number): GgufHeader {
  let position = 0
  /** Advances by `count` bytes and returns the position before. */
  const take = (count: number): number => {
    if (count > bytes.length - position) throw truncated
    position += count
    return position - count
  }
  const u32 = (): number => bytes.readUInt32LE(take(4))
  const u64 = (): bigint => bytes.readBigUInt64LE(take(8))
  const count = (): number => {
    const value = u64()
    if (value > BigInt(size)) throw new Error(`a length of ${value} is larger than the file`)
    return Number(value)
  }
  const text = (): string => {
    const length = count()
    const start = take(length)
    return bytes.toString('utf8', start, start + length)
  }
  const value = (type: number): GgufValue => {
    switch (type) {
      case ggufTypes.u8:
        return bytes.readUInt8(take(1))
      case ggufTypes.i8:
        return bytes.readInt8(take(1))
      case ggufTypes.u16:
        return bytes.readUInt16LE(take(2))
      case ggufTypes.i16:
        return bytes.readInt16LE(take(2))
      case ggufTypes.u32:
        return u32()
      case ggufTypes.i32:
        return bytes.readInt32LE(take(4))
      case ggufTypes.f32:
        return bytes.readFloatLE(take(4))
      case ggufTypes.bool:
        return bytes.readUInt8(take(1)) !== 0
      case ggufTypes.string:
        return text()
      case ggufTypes.array: {
        const inner = u32()
        const length = count()
        const items: GgufValue[] = []
        for (let i = 0; i < length; i++) items.push(value(inner))
        return items
      }
      case ggufTypes.u64:
        return u64()
      case ggufTypes.i64:
        return bytes.readBigInt64LE(take(8))
      case ggufTypes.f64:
        return bytes.readDoubleLE(take(8))
      default:
        throw new Error(`metadata of unknown type ${type}`)
    }
  }

  if (bytes.toString('latin1', 0, 4) !== 'GGUF') throw new Error('it does not begin with GGUF')
  position = 4
  const version = u32()
  if (version !== 3) throw new Error(`it has version ${version}; only version 3 is supported`)
  const tensorCount = count()
  const metadataCount = count()
  const metadata = new Map<string, GgufValue>()
  for (let i = 0; i < metadataCount; i++) {
    const key = text()
    metadata.set(key, value(u32()))
  }
  const infos = []
  for (let i = 0; i < tensorCount; i++) {
    const name = text()
    const dimensions = u32()
    if (dimensions < 1 || dimensions > 4) throw new Error(`tensor ${name} has ${dimensions} dimensions`)
    const shape = Array.from({ length: dimensions }, () => Number(u64()))
    const id = u32()
    infos.push({ name, shape, id, offset: u64() })
  }
  const alignment = metadata.get('general.alignment') ?? 32
  if (typeof alignment !== 'number' || alignment < 8 || alignment % 8 !== 0)
    throw new Error('general.alignment is not a multiple of 8')
  const dataStart = Math.ceil(position / alignment) * alignment
  let end = dataStart
  const tensors = infos.map(({ name, shape, id, offset }) => {
    const type = supportedType(id, name)
    if (!shape.every((dimension) => Number.isSafeInteger(dimension) && dimension > 0))
      throw new Error(`tensor ${name} has an invalid shape`)
    const length = tensorBytes(type, shape)
    const start = dataStart + Number(offset)
    if (start < end || start % alignment !== 0) throw new Error(`tensor ${name} overlaps another one or is not aligned`)
    end = start + length
    if (end > size)
      throw new Error(`it is cut short: tensor ${name} ends at byte ${end} of ${size}; convert or copy it again`)
    return { name, type, shape, offset: start, length }
  })
  return { metadata, tensors }
}

function supportedType(id: number, name: string): TensorType {
  try {
    return typeFromId(id)
  } catch {
    throw new EngineError(
      'bad_checkpoint',
      `tensor ${name} is quantised in a way this version does not support (type number ${id}); convert the checkpoint again`,
    )
  }
}
