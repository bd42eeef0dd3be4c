/**
 * The declared end of a file, by the sizes that its container writes before its parts. Pure.
 *
 * In: a file. Out: a position, past the file's end for a truncated one; undefined where the format declares none, or
 * where its writer left the size open.
 *
 * Reference: ISO/IEC 14496-12 (boxes), RFC 8794 and 9559 (EBML, Matroska), RFC 3533 (Ogg), ISO/IEC 13818-1 (transport
 * and program streams), RIFF, Core Audio Format, FLV, and Advanced Systems Format.
 */
import type { ByteSource } from './bytes.ts'
import { lastPageEnd } from './ogg-links.ts'
import { waveDataEnd } from './wave-header.ts'

/** Writers to a pipe put a size of this many bytes or more for "unknown". */
const unknownSize = 0x7f00_0000

export function declaredEnd(bytes: ByteSource): number | undefined {
  const head = Buffer.from(bytes.at(0, 400))
  if (head.length < 32) return undefined
  const tag = head.toString('latin1', 0, 4)
  const form = head.toString('latin1', 8, 12)
  if (/^(ftyp|moov|mdat|wide|free|skip)$/.test(head.toString('latin1', 4, 8))) return lastBox(bytes)?.end
  if (head.readUInt32BE(0) === 0x1a45dfa3) return lastElementEnd(bytes)
  if (tag === 'OggS') return lastPageEnd(bytes)
  if (tag.startsWith('FLV')) return lastTagEnd(bytes, head.readUInt32BE(5))
  if (tag === 'RIFF' && form === 'AVI ') return riffEnd(head.readUInt32LE(4))
  if (form === 'WAVE' || tag === 'riff') return waveEnd(bytes)
  if (tag === 'caff') return lastChunkEnd(bytes)
  if (head.readUInt32BE(0) === 0x3026b275) return asfEnd(bytes)
  if (head.readUInt32BE(0) === 0x000001ba) return lastPackEnd(bytes)
  return transportEnd(head, bytes.size)
}

/** The start of a second file of the same kind, appended to the first: FFmpeg reads only the first. */
export function secondFile(bytes: ByteSource): number | undefined {
  const head = Buffer.from(bytes.at(0, 12))
  if (head.length < 12) return undefined
  const at = endOfFirst(bytes, head)
  if (at === undefined || at + 12 > bytes.size) return undefined
  const next = bytes.at(at, 12)
  // The sizes between are each file's own.
  return next.subarray(0, 4).equals(head.subarray(0, 4)) && next.subarray(8).equals(head.subarray(8)) ? at : undefined
}

function endOfFirst(bytes: ByteSource, head: Buffer): number | undefined {
  const tag = head.toString('latin1', 0, 4)
  const padded = (size: number) => 8 + size + (size % 2)
  if (tag === 'RIFF' && head.toString('latin1', 8) === 'WAVE') return padded(head.readUInt32LE(4))
  if (tag === 'FORM' || tag === 'RIFX') return padded(head.readUInt32BE(4))
  if (head.readUInt32BE(0) === 0x3026b275) return asfEnd(bytes)
  if (head.toString('latin1', 4, 8) !== 'ftyp') return undefined
  let at = head.readUInt32BE(0)
  while (at >= 8 && at + 16 <= bytes.size) {
    const box = bytes.at(at, 16)
    const type = box.toString('latin1', 4, 8)
    if (type === 'ftyp') return at
    if (type === 'moof') return undefined // fragments are read whatever stands between them
    const size = box.readUInt32BE(0)
    const long = size === 1 ? Number(box.readBigUInt64BE(8)) : size
    if (long < 8) return undefined
    at += long
  }
  return undefined
}

/** A fragment's truncated index at the end, where FFmpeg refuses the whole file: its start. */
export function brokenFragment(bytes: ByteSource): number | undefined {
  if (bytes.at(0, 8).toString('latin1', 4, 8) !== 'ftyp') return undefined
  const last = lastBox(bytes)
  return last?.type === 'moof' && last.end > bytes.size ? last.start : undefined
}

/** The last top-level box; undefined where its size is open or its type is none. */
function lastBox(bytes: ByteSource): { type: string; start: number; end: number } | undefined {
  let last = { type: '', start: 0, end: 0 }
  while (last.end + 8 <= bytes.size) {
    const start = last.end
    const box = bytes.at(start, 16)
    const type = box.toString('latin1', 4, 8)
    if (!/^[\w ©-]{4}$/.test(type)) return undefined // appended data that is no box
    let size = box.readUInt32BE(0)
    if (size === 0) return undefined // to the end of the file
    if (size === 1) {
      if (box.length < 16) return { type, start, end: start + 16 }
      size = Number(box.readBigUInt64BE(8))
    }
    if (size < 8) return undefined
    last = { type, start, end: start + size }
  }
  return last
}

/** Elements whose parts are checked one by one, because their own size may be open. */
const masters: readonly number[] = [0x18538067, 0x1f43b675] // Segment, Cluster

function lastElementEnd(bytes: ByteSource): number | undefined {
  let at = 0
  while (at + 2 <= bytes.size) {
    const head = bytes.at(at, 12)
    const id = vint(head, 0)
    const size = id === undefined ? undefined : vint(head, id.next)
    if (id === undefined || size === undefined) return head.length < 12 ? at + 12 : undefined
    if (masters.includes(head.readUIntBE(0, id.next))) {
      if (!size.unknown && at + size.next + size.value > bytes.size) return at + size.next + size.value
      at += size.next
      continue
    }
    if (size.unknown) return undefined
    at += size.next + size.value
  }
  return at
}

/** EBML's variable-length number, at most eight bytes. */
function vint(bytes: Buffer, at: number): { value: number; next: number; unknown: boolean } | undefined {
  const first = bytes[at] ?? 0
  const length = Math.clz32(first) - 23
  if (length > 8 || at + length > bytes.length) return undefined
  const mask = (1 << (8 - length)) - 1
  let value = first & mask
  let unknown = value === mask
  for (let i = 1; i < length; i += 1) {
    value = value * 256 + bytes[at + i]!
    unknown &&= bytes[at + i] === 0xff
  }
  return { value, next: at + length, unknown }
}

function lastTagEnd(bytes: ByteSource, headerSize: number): number | undefined {
  let at = headerSize + 4
  while (at < bytes.size) {
    const tag = bytes.at(at, 11)
    if (![8, 9, 18].includes(tag[0]! & 0x1f)) return undefined
    if (tag.length < 11) return at + 11
    at += 11 + tag.readUIntBE(1, 3)
    if (at >= bytes.size) return at // some writers leave out the size of the last tag
    at += 4
  }
  return at - 4
}

function riffEnd(size: number): number | undefined {
  return size === 0 || size >= unknownSize ? undefined : 7 + size // the last byte may be padding
}

function waveEnd(bytes: ByteSource): number | undefined {
  const data = waveDataEnd(bytes)
  return data === undefined || data.size === 0 || data.size >= unknownSize ? undefined : data.start + data.size
}

function lastChunkEnd(bytes: ByteSource): number | undefined {
  let at = 8
  while (at + 12 <= bytes.size) {
    const chunk = bytes.at(at, 12)
    const size = Number(chunk.readBigInt64BE(4))
    if (size < 0 || size >= unknownSize || chunk.toString('latin1', 0, 4) === 'caff') return undefined
    at += 12 + size
  }
  return at
}

const fileProperties = Buffer.from('a1dcab8c47a9cf118ee400c00c205365', 'hex')
const broadcast = 1

function asfEnd(bytes: ByteSource): number | undefined {
  const head = bytes.at(0, 16_384)
  const at = head.indexOf(fileProperties)
  if (at < 0 || at + 92 > head.length || (head.readUInt32LE(at + 88) & broadcast) !== 0) return undefined
  const size = Number(head.readBigUInt64LE(at + 40))
  return size === 0 || size >= unknownSize ? undefined : size
}

/** Program streams: packs, each with a header and packets that declare their length. */
function lastPackEnd(bytes: ByteSource): number | undefined {
  let at = 0
  while (at + 4 <= bytes.size) {
    const head = bytes.at(at, 14)
    const code = head.readUInt32BE(0)
    if (code === 0x000001b9) return undefined
    if (code === 0x000001ba) {
      if (head.length < 14) return at + 14
      at += (head[4]! & 0xc0) === 0x40 ? 14 + (head[13]! & 7) : 12
    } else if (code >= 0x000001bb && code <= 0x000001ff) {
      if (head.length < 6) return at + 6
      at += 6 + head.readUInt16BE(4)
    } else return undefined
  }
  return at
}

/** Transport streams: packets of one size, with a sync byte each. */
function transportEnd(head: Buffer, size: number): number | undefined {
  for (const [length, sync] of [
    [188, 0],
    [192, 4],
  ] as const) {
    if (head[sync] === 0x47 && head[sync + length] === 0x47) return Math.ceil(size / length) * length
  }
  return undefined
}
