/**
 * Corrects a WAVE header for FFmpeg.
 *
 * FFmpeg takes a sample's valid bits for its width, so that 24 valid bits in 32 decode to noise. Valid bits are the
 * high bits, so the full width is correct. FFmpeg also reads the samples of big-endian files (RIFX) in the wrong byte
 * order, and no samples where a writer to a pipe left the 64-bit size unknown (RF64, Wave64). In: a file. Out: bytes
 * that replace parts of its header, and whether the samples are big-endian.
 *
 * Reference: WAVEFORMATEXTENSIBLE (wValidBitsPerSample), RIFF and RIFX, EBU Tech 3306 (RF64), Sony Wave64. libsndfile
 * also uses the block size, not the valid bits.
 */
import {
  AV_CODEC_ID_PCM_F32BE,
  AV_CODEC_ID_PCM_F32LE,
  AV_CODEC_ID_PCM_F64BE,
  AV_CODEC_ID_PCM_F64LE,
  AV_CODEC_ID_PCM_S16BE,
  AV_CODEC_ID_PCM_S16LE,
  AV_CODEC_ID_PCM_S24BE,
  AV_CODEC_ID_PCM_S24LE,
  AV_CODEC_ID_PCM_S32BE,
  AV_CODEC_ID_PCM_S32LE,
  AV_CODEC_ID_PCM_S64BE,
  AV_CODEC_ID_PCM_S64LE,
} from 'node-av/constants'
import type { CodecParameters } from 'node-av/lib'
import type { ByteSource } from './bytes.ts'

type CodecId = CodecParameters['codecId']

/** Bytes that replace those at `position`. */
export interface Patch {
  readonly position: number
  readonly bytes: Buffer
}

export interface WaveHeader {
  readonly patches: readonly Patch[]
  readonly bigEndian: boolean
}

const littleToBigEndian = new Map<CodecId, CodecId>([
  [AV_CODEC_ID_PCM_S16LE, AV_CODEC_ID_PCM_S16BE],
  [AV_CODEC_ID_PCM_S24LE, AV_CODEC_ID_PCM_S24BE],
  [AV_CODEC_ID_PCM_S32LE, AV_CODEC_ID_PCM_S32BE],
  [AV_CODEC_ID_PCM_S64LE, AV_CODEC_ID_PCM_S64BE],
  [AV_CODEC_ID_PCM_F32LE, AV_CODEC_ID_PCM_F32BE],
  [AV_CODEC_ID_PCM_F64LE, AV_CODEC_ID_PCM_F64BE],
])

/** The big-endian codec for the little-endian one that FFmpeg assumes. */
export function bigEndianCodec(codecId: CodecId): CodecId {
  return littleToBigEndian.get(codecId) ?? codecId
}

/** Format tags of a `fmt ` chunk. */
const formatTags = { integer: 1, float: 3, extensible: 0xfffe } as const

/** A file with more chunks before its samples is damaged. */
const maxChunks = 1000

/** @returns undefined if the file is not a WAVE file, or needs no change */
export function waveHeader(file: ByteSource): WaveHeader | undefined {
  const layout = layoutOf(Buffer.from(file.read(0, 40)))
  if (layout === undefined) return undefined
  const { bigEndian } = layout
  const patches: Patch[] = []
  let offset = layout.firstChunk
  for (let i = 0; i < maxChunks && offset + layout.headerBytes <= file.size; i += 1) {
    const head = Buffer.from(file.read(offset, layout.headerBytes))
    const name = head.toString('latin1', 0, 4)
    const size = layout.size(head)
    if (bigEndian) patches.push(swapped(head, offset, [[4, 4]]))
    if (name === 'data') {
      patches.push(...unknownSizePatches(file, layout, offset, size))
      break
    }
    if (name === 'fmt ') patches.push(...formatPatches(file, offset + layout.headerBytes, size, bigEndian))
    offset = layout.next(offset, size)
  }
  if (bigEndian) patches.push({ position: 0, bytes: Buffer.from('RIFF') }, swapped(file.read(4, 4), 4, [[0, 4]]))
  return patches.length === 0 ? undefined : { patches, bigEndian }
}

/** Position and declared size of a WAVE file's samples, in bytes; undefined if it has none. */
export function waveData(file: ByteSource): { start: number; size: number } | undefined {
  const layout = layoutOf(Buffer.from(file.read(0, 40)))
  if (layout === undefined) return undefined
  let offset = layout.firstChunk
  for (let i = 0; i < maxChunks && offset + layout.headerBytes <= file.size; i += 1) {
    const head = file.read(offset, layout.headerBytes)
    const size = layout.size(head)
    if (head.toString('latin1', 0, 4) === 'data') {
      const is64 = layout.size64At !== undefined && size === unknownSize32
      return { start: offset + layout.headerBytes, size: is64 ? size64(file, layout.size64At!) : size }
    }
    offset = layout.next(offset, size)
  }
  return undefined
}

/** A 32-bit size that means: see the `ds64` chunk. */
const unknownSize32 = 0xffff_ffff

function size64(file: ByteSource, position: number): number {
  const bytes = file.read(position, 8)
  return bytes.length < 8 ? 0 : Number(bytes.readBigUInt64LE(0))
}

/** Writes the number of bytes that follow where the size of the samples is unknown. @param offset of the data chunk */
function unknownSizePatches(file: ByteSource, layout: Layout, offset: number, size: number): Patch[] {
  const present = file.size - offset - layout.headerBytes
  const patch = (position: number, value: number): Patch => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(value))
    return { position, bytes }
  }
  const { size64At } = layout
  if (size64At !== undefined && size === unknownSize32 && size64(file, size64At) === 0)
    return [patch(size64At, present)]
  if (layout.headerBytes === 24 && size >= Number.MAX_SAFE_INTEGER)
    return [patch(16, file.size), patch(offset + 16, present + 24)]
  return []
}

interface Layout {
  readonly bigEndian: boolean
  /** Position of the 64-bit size of the samples. */
  readonly size64At?: number | undefined
  /** Position of the first chunk. */
  readonly firstChunk: number
  /** Bytes of a chunk's header. */
  readonly headerBytes: number
  /** Bytes of a chunk's body, read from its header. */
  readonly size: (header: Buffer) => number
  /** Position of the chunk that follows one at `offset` with `size` bytes. */
  readonly next: (offset: number, size: number) => number
}

function layoutOf(head: Buffer): Layout | undefined {
  const tag = head.toString('latin1', 0, 4)
  const wave = head.toString('latin1', 8, 12) === 'WAVE'
  if (wave && ['RIFF', 'RIFX', 'RF64', 'BW64'].includes(tag)) {
    const bigEndian = tag === 'RIFX'
    const size = (chunk: Buffer) => (bigEndian ? chunk.readUInt32BE(4) : chunk.readUInt32LE(4))
    return {
      bigEndian,
      size64At: head.toString('latin1', 12, 16) === 'ds64' ? 28 : undefined,
      firstChunk: 12,
      headerBytes: 8,
      size,
      next: (offset, bytes) => offset + 8 + bytes + (bytes % 2),
    }
  }
  if (tag === 'riff' && head.toString('latin1', 24, 28) === 'wave') {
    const size = (chunk: Buffer) => Number(chunk.readBigUInt64LE(16)) - 24
    return {
      bigEndian: false,
      firstChunk: 40,
      headerBytes: 24,
      size,
      next: (offset, bytes) => offset + 24 + Math.ceil(bytes / 8) * 8,
    }
  }
  return undefined
}

function formatPatches(file: ByteSource, offset: number, size: number, bigEndian: boolean): Patch[] {
  const original = Buffer.from(file.read(offset, Math.min(size, 40)))
  if (original.length < 16) return []
  const ofWidth = (width: 2 | 4, places: readonly number[]) => places.map((place) => [place, width] as const)
  const fields = [...ofWidth(2, [0, 2, 12, 14, 16, 18, 28, 30]), ...ofWidth(4, [4, 8, 20, 24])]
  const inFile = fields.filter(([place, width]) => place + width <= original.length)
  const { bytes } = bigEndian ? swapped(original, offset, inFile) : { bytes: Buffer.from(original) }
  const code = bytes.readUInt16LE(0)
  const isExtensible = code === formatTags.extensible && bytes.length >= 26
  const tag = isExtensible ? bytes.readUInt16LE(24) : code
  const channels = bytes.readUInt16LE(2)
  const width = bytes.readUInt16LE(12) / channels // bytes per sample
  const isValidWidth = [1, 2, 3, 4, 8].includes(width)
  const is24In32 = tag === formatTags.integer && bytes.readUInt16LE(14) === 24 && width === 4
  const mayDiffer = isExtensible || bigEndian || is24In32
  if (isValidWidth && (tag === formatTags.integer || tag === formatTags.float) && mayDiffer) {
    bytes.writeUInt16LE(width * 8, 14)
    if (isExtensible) bytes.writeUInt16LE(width * 8, 18)
  }
  return bytes.equals(original) ? [] : [{ position: offset, bytes }]
}

/** Reverses the bytes of fields, given by position and width, of a big-endian structure. */
function swapped(original: Buffer, position: number, fields: readonly (readonly [number, number])[]): Patch {
  const bytes = Buffer.from(original)
  for (const [place, width] of fields) bytes.subarray(place, place + width).reverse()
  return { position, bytes }
}
