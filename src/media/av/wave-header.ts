/**
 * A WAVE header for FFmpeg: with the samples' container width, and in little-endian order.
 *
 * FFmpeg uses a sample's valid bits, so 24 valid bits in 32 decode to noise; valid bits are the top of their container,
 * so the wider integer is right unchanged. It reads the samples of big-endian files (RIFX) in the wrong byte order. In:
 * a file. Out: bytes to replace its header, and whether the samples are big-endian.
 *
 * Reference: WAVEFORMATEXTENSIBLE (wValidBitsPerSample), RIFF and RIFX, Sony Wave64; libsndfile reads by block size,
 * too.
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

/** The codec of big-endian samples that FFmpeg takes for little-endian ones. */
export function bigEndianCodec(codecId: CodecId): CodecId {
  return littleToBigEndian.get(codecId) ?? codecId
}

const extensible = 0xfffe
const integers = 1
const floats = 3

/** Most chunks before the samples. */
const mostChunks = 1000

/** @returns undefined for a file that is no WAVE file, or needs no change */
export function waveHeader(file: ByteSource): WaveHeader | undefined {
  const layout = layoutOf(Buffer.from(file.at(0, 40)))
  if (layout === undefined) return undefined
  const { bigEndian } = layout
  const patches: Patch[] = []
  let at = layout.first
  for (let i = 0; i < mostChunks && at + layout.head <= file.size; i += 1) {
    const head = Buffer.from(file.at(at, layout.head))
    const name = head.toString('latin1', 0, 4)
    const size = layout.size(head)
    if (bigEndian) patches.push(swapped(head, at, [[4, 4]]))
    if (name === 'data') break
    if (name === 'fmt ') patches.push(...formatPatches(file, at + layout.head, size, bigEndian))
    at = layout.next(at, size)
  }
  if (bigEndian) patches.push({ position: 0, bytes: Buffer.from('RIFF') }, swapped(file.at(4, 4), 4, [[0, 4]]))
  return patches.length === 0 ? undefined : { patches, bigEndian }
}

/** Where a WAVE file's samples begin, and the declared number of their bytes. */
export function waveDataEnd(file: ByteSource): { start: number; size: number } | undefined {
  const layout = layoutOf(Buffer.from(file.at(0, 40)))
  if (layout === undefined) return undefined
  let at = layout.first
  for (let i = 0; i < mostChunks && at + layout.head <= file.size; i += 1) {
    const head = file.at(at, layout.head)
    const size = layout.size(head)
    if (head.toString('latin1', 0, 4) === 'data') return { start: at + layout.head, size }
    at = layout.next(at, size)
  }
  return undefined
}

interface Layout {
  readonly bigEndian: boolean
  /** Where the first chunk begins, and how long the head of each is. */
  readonly first: number
  readonly head: number
  /** Bytes of a chunk's body, by its head. */
  readonly size: (head: Buffer) => number
  readonly next: (at: number, size: number) => number
}

function layoutOf(head: Buffer): Layout | undefined {
  const tag = head.toString('latin1', 0, 4)
  const wave = head.toString('latin1', 8, 12) === 'WAVE'
  if (wave && ['RIFF', 'RIFX', 'RF64', 'BW64'].includes(tag)) {
    const bigEndian = tag === 'RIFX'
    const size = (chunk: Buffer) => (bigEndian ? chunk.readUInt32BE(4) : chunk.readUInt32LE(4))
    return { bigEndian, first: 12, head: 8, size, next: (at, bytes) => at + 8 + bytes + (bytes % 2) }
  }
  if (tag === 'riff' && head.toString('latin1', 24, 28) === 'wave') {
    const size = (chunk: Buffer) => Number(chunk.readBigUInt64LE(16)) - 24
    return { bigEndian: false, first: 40, head: 24, size, next: (at, bytes) => at + 24 + Math.ceil(bytes / 8) * 8 }
  }
  return undefined
}

function formatPatches(file: ByteSource, at: number, size: number, bigEndian: boolean): Patch[] {
  const original = Buffer.from(file.at(at, Math.min(size, 40)))
  if (original.length < 16) return []
  const words = (places: readonly number[], width: 2 | 4) => places.map((place) => [place, width] as const)
  const fields = [...words([0, 2, 12, 14, 16, 18], 2), ...words([4, 8, 20, 24], 4), [28, 2], [30, 2]] as const
  const inFile = fields.filter(([place, width]) => place + width <= original.length)
  const { bytes } = bigEndian ? swapped(original, at, inFile) : { bytes: Buffer.from(original) }
  const code = bytes.readUInt16LE(0)
  const isExtensible = code === extensible && bytes.length >= 26
  const coding = isExtensible ? bytes.readUInt16LE(24) : code
  const channels = bytes.readUInt16LE(2)
  const width = bytes.readUInt16LE(12) / channels
  const whole = [1, 2, 3, 4, 8].includes(width)
  if (whole && (coding === integers || coding === floats) && (isExtensible || bigEndian)) {
    bytes.writeUInt16LE(width * 8, 14)
    if (isExtensible) bytes.writeUInt16LE(width * 8, 18)
  }
  return bytes.equals(original) ? [] : [{ position: at, bytes }]
}

/** Reverses fields, given by position and width, of a big-endian structure. */
function swapped(original: Buffer, position: number, fields: readonly (readonly [number, number])[]): Patch {
  const bytes = Buffer.from(original)
  for (const [place, width] of fields) bytes.subarray(place, place + width).reverse()
  return { position, bytes }
}
