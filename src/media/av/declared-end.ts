/**
 * Where a file should end, computed from the sizes that its container declares. Pure.
 *
 * In: a file. Out: a position in bytes, which is beyond the file's end if the file is truncated; undefined where the
 * format declares no sizes, or where the writer did not know them.
 *
 * Reference: ISO/IEC 14496-12 (boxes), RFC 8794 and 9559 (EBML, Matroska), RFC 3533 (Ogg), ISO/IEC 13818-1 (transport
 * and program streams), RIFF, AIFF, AU, Core Audio Format, FLV, and Advanced Systems Format.
 */
import type { ByteSource } from './bytes.ts'
import { lastFrameEnd } from './frame-chain.ts'
import { lastPageEnd } from './ogg-links.ts'
import { waveData } from './wave-header.ts'

/** Writers to a pipe declare a size of this many bytes or more to mean "unknown". */
const unknownSize = 0x7f00_0000

/** @returns position in bytes; undefined where none is declared */
export function declaredEnd(bytes: ByteSource): number | undefined {
  const head = Buffer.from(bytes.read(0, 400))
  if (head.length < 32) return undefined
  const tag = head.toString('latin1', 0, 4)
  const form = head.toString('latin1', 8, 12)
  if (/^(ftyp|moov|mdat|wide|free|skip)$/.test(head.toString('latin1', 4, 8))) return lastBox(bytes)?.end
  if (head.readUInt32BE(0) === 0x1a45dfa3) return lastElementEnd(bytes)
  if (tag === 'OggS') return lastPageEnd(bytes)
  if (tag.startsWith('FLV')) return lastTagEnd(bytes, head.readUInt32BE(5))
  if (tag === 'RIFF' && form === 'AVI ') return riffEnd(head.readUInt32LE(4)) ?? lastAviChunkEnd(bytes)
  if (form === 'WAVE' || tag === 'riff') return waveEnd(bytes)
  if (tag === 'FORM') return riffEnd(head.readUInt32BE(4))
  if (tag === '.snd') return auEnd(head)
  if (tag === 'caff') return lastChunkEnd(bytes)
  if (head.readUInt32BE(0) === 0x3026b275) return asfEnd(bytes)
  if (head.readUInt32BE(0) === 0x000001ba) return lastPackEnd(bytes)
  return transportEnd(head, bytes.size) ?? lastFrameEnd(bytes)
}

/** The start of a second file of the same format, appended to the first. FFmpeg reads only the first. */
export function appendedFileStart(bytes: ByteSource): number | undefined {
  const head = Buffer.from(bytes.read(0, 12))
  if (head.length < 12) return undefined
  const offset = firstFileEnd(bytes, head)
  if (offset === undefined || offset + 12 > bytes.size) return undefined
  const next = bytes.read(offset, 12)
  // Bytes 4 to 8 are the size, which differs between the files.
  return next.subarray(0, 4).equals(head.subarray(0, 4)) && next.subarray(8).equals(head.subarray(8))
    ? offset
    : undefined
}

function firstFileEnd(bytes: ByteSource, head: Buffer): number | undefined {
  const tag = head.toString('latin1', 0, 4)
  const padded = (size: number) => 8 + size + (size % 2)
  if (tag === 'RIFF' && head.toString('latin1', 8) === 'WAVE') return padded(head.readUInt32LE(4))
  if (tag === 'FORM' || tag === 'RIFX') return padded(head.readUInt32BE(4))
  if (head.readUInt32BE(0) === 0x3026b275) return asfEnd(bytes)
  if (head.toString('latin1', 4, 8) !== 'ftyp') return undefined
  let offset = head.readUInt32BE(0)
  while (offset >= 8 && offset + 16 <= bytes.size) {
    const box = bytes.read(offset, 16)
    const type = box.toString('latin1', 4, 8)
    if (type === 'ftyp') return offset
    if (type === 'moof') return undefined // FFmpeg reads fragments of all the appended files
    const size = box.readUInt32BE(0)
    const long = size === 1 ? Number(box.readBigUInt64BE(8)) : size
    if (long < 8) return undefined
    offset += long
  }
  return undefined
}

/** The start of a truncated fragment index at the end of an MP4 file. FFmpeg refuses such a file as a whole. */
export function truncatedFragmentStart(bytes: ByteSource): number | undefined {
  if (bytes.read(0, 8).toString('latin1', 4, 8) !== 'ftyp') return undefined
  const last = lastBox(bytes)
  return last?.type === 'moof' && last.end > bytes.size ? last.start : undefined
}

/** The last top-level box; undefined where its size is unknown or its type is not valid. */
function lastBox(bytes: ByteSource): { type: string; start: number; end: number } | undefined {
  let last = { type: '', start: 0, end: 0 }
  while (last.end + 8 <= bytes.size) {
    const start = last.end
    const box = bytes.read(start, 16)
    const type = box.toString('latin1', 4, 8)
    if (!/^[\w ©-]{4}$/.test(type)) return undefined // appended data, not a box
    let size = box.readUInt32BE(0)
    if (size === 0) return undefined // the box extends to the end of the file
    if (size === 1) {
      if (box.length < 16) return { type, start, end: start + 16 }
      size = Number(box.readBigUInt64BE(8))
    }
    if (size < 8) return undefined
    last = { type, start, end: start + size }
  }
  return last
}

/** Elements whose children are checked one by one, because their own size may be unknown. */
const masterElements: readonly number[] = [0x18538067, 0x1f43b675] // Segment, Cluster

function lastElementEnd(bytes: ByteSource): number | undefined {
  let offset = 0
  while (offset + 2 <= bytes.size) {
    const head = bytes.read(offset, 12)
    const id = vint(head, 0)
    const size = id === undefined ? undefined : vint(head, id.next)
    if (id === undefined || size === undefined) return head.length < 12 ? offset + 12 : undefined
    if (masterElements.includes(head.readUIntBE(0, id.next))) {
      if (!size.unknown && offset + size.next + size.value > bytes.size) return offset + size.next + size.value
      offset += size.next
      continue
    }
    if (size.unknown) return undefined
    offset += size.next + size.value
  }
  return offset
}

/** Reads EBML's variable-length integer of at most eight bytes; undefined where it is invalid or incomplete. */
function vint(bytes: Buffer, offset: number): { value: number; next: number; unknown: boolean } | undefined {
  const first = bytes[offset] ?? 0
  const length = Math.clz32(first) - 23
  if (length > 8 || offset + length > bytes.length) return undefined
  const mask = (1 << (8 - length)) - 1
  let value = first & mask
  let unknown = value === mask
  for (let i = 1; i < length; i += 1) {
    value = value * 256 + bytes[offset + i]!
    unknown &&= bytes[offset + i] === 0xff
  }
  return { value, next: offset + length, unknown }
}

function lastTagEnd(bytes: ByteSource, headerSize: number): number | undefined {
  let offset = headerSize + 4
  while (offset < bytes.size) {
    const tag = bytes.read(offset, 11)
    if (![8, 9, 18].includes(tag[0]! & 0x1f)) return undefined
    if (tag.length < 11) return offset + 11
    offset += 11 + tag.readUIntBE(1, 3)
    if (offset >= bytes.size) return offset // some writers leave out the size of the last tag
    offset += 4
  }
  return offset - 4
}

function riffEnd(size: number): number | undefined {
  return size === 0 || size >= unknownSize ? undefined : 7 + size // the last byte may be padding
}

/** For a file that was written to a pipe, whose declared size is unknown. */
function lastAviChunkEnd(bytes: ByteSource): number | undefined {
  let offset = 12
  while (offset + 8 <= bytes.size) {
    const chunk = bytes.read(offset, 8)
    const id = chunk.toString('latin1', 0, 4)
    if (!/^[\x20-\x7e]{4}$/.test(id)) return undefined
    const size = chunk.readUInt32LE(4)
    offset += id === 'LIST' || id === 'RIFF' ? 12 : 8 + size + (size % 2)
  }
  return offset
}

function auEnd(head: Buffer): number | undefined {
  const size = head.readUInt32BE(8)
  return size === 0 || size >= unknownSize ? undefined : head.readUInt32BE(4) + size
}

function waveEnd(bytes: ByteSource): number | undefined {
  const data = waveData(bytes)
  return data === undefined || data.size === 0 || data.size >= unknownSize ? undefined : data.start + data.size
}

function lastChunkEnd(bytes: ByteSource): number | undefined {
  let offset = 8
  while (offset + 12 <= bytes.size) {
    const chunk = bytes.read(offset, 12)
    const size = Number(chunk.readBigInt64BE(4))
    if (size < 0 || size >= unknownSize || chunk.toString('latin1', 0, 4) === 'caff') return undefined
    offset += 12 + size
  }
  return offset
}

const filePropertiesGuid = Buffer.from('a1dcab8c47a9cf118ee400c00c205365', 'hex')
const broadcastFlag = 1

function asfEnd(bytes: ByteSource): number | undefined {
  const head = bytes.read(0, 16_384)
  const offset = head.indexOf(filePropertiesGuid)
  if (offset < 0 || offset + 92 > head.length || (head.readUInt32LE(offset + 88) & broadcastFlag) !== 0)
    return undefined
  const size = Number(head.readBigUInt64LE(offset + 40))
  return size === 0 || size >= unknownSize ? undefined : size
}

/** MPEG program streams: packs, each with a header and packets that declare their length. */
function lastPackEnd(bytes: ByteSource): number | undefined {
  let offset = 0
  while (offset + 4 <= bytes.size) {
    const head = bytes.read(offset, 14)
    const code = head.readUInt32BE(0)
    if (code === 0x000001b9) return undefined
    if (code === 0x000001ba) {
      if (head.length < 14) return offset + 14
      offset += (head[4]! & 0xc0) === 0x40 ? 14 + (head[13]! & 7) : 12
    } else if (code >= 0x000001bb && code <= 0x000001ff) {
      if (head.length < 6) return offset + 6
      offset += 6 + head.readUInt16BE(4)
    } else return undefined
  }
  return offset
}

/** MPEG transport streams: packets of one size that begin with a sync byte. */
function transportEnd(head: Buffer, size: number): number | undefined {
  for (const [length, sync] of [
    [188, 0],
    [192, 4],
  ] as const) {
    if (head[sync] === 0x47 && head[sync + length] === 0x47) return Math.ceil(size / length) * length
  }
  return undefined
}
