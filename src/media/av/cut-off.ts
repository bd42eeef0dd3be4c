/**
 * Whether a file ends before it should, by what its container says of itself.
 *
 * In: an input that was read to its end. Out: a sentence for people, or nothing. Three witnesses: the bytes a container
 * says it has, the seconds its headers declare, and a last packet that is damaged. A length that FFmpeg guesses from a bit
 * rate is no witness.
 *
 * Reference: ISO/IEC 14496-12 (boxes), RFC 8794 (EBML), RFC 3533 (Ogg pages), the FLV and AVI file formats.
 */
import type { ByteSource } from './bytes.ts'
import { lastPageEnd } from './ogg-links.ts'
import type { MediaInput } from './input.ts'

/** Headers round: this much may be missing of a whole file, seconds and share. */
const tolerance = { seconds: 0.2, share: 0.01 } as const

/** A length of this many bytes or more is what writers to a pipe put for "unknown". */
const unknownBytes = 0x7f00_0000

/**
 * @param stream the stream that was decoded
 * @param decoded seconds that came out of its decoder
 */
export function cutOff(input: MediaInput, bytes: ByteSource, stream: number, decoded: number): string | undefined {
  const seconds = missingSeconds(input, stream, decoded)
  if (seconds !== undefined) return `${seconds.there.toFixed(1)} s of ${seconds.declared.toFixed(1)} s are there`
  const end = declaredEnd(bytes)
  if (end !== undefined && end > bytes.size) return `${bytes.size} of at least ${end} bytes are there`
  if (input.extents.get(stream)?.endsDamaged === true) return 'its last packet is damaged'
  return undefined
}

function missingSeconds(input: MediaInput, stream: number, decoded: number) {
  const extent = input.extents.get(stream)
  const own = input.declared.streams[stream]
  const byteRate = Number(input.streams[stream]?.codecpar.bitRate ?? 0n) / 8
  if (own !== undefined && own * byteRate < unknownBytes) {
    const there = Math.max(decoded, extent === undefined ? 0 : extent.end - extent.start)
    return missing(there, own) ? { there, declared: own } : undefined
  }
  if (own !== undefined || input.declared.container === undefined) return undefined
  const extents = [...input.extents.values()]
  // Some writers count from zero, others from the first packet: the longer reading is the file's due.
  const end = Math.max(...extents.map((each) => each.end))
  const there = Math.max(decoded, end, end - Math.min(...extents.map((each) => each.start)))
  return missing(there, input.declared.container) ? { there, declared: input.declared.container } : undefined
}

function missing(there: number, declared: number): boolean {
  return there < declared - Math.max(tolerance.seconds, declared * tolerance.share)
}

/** Where the container's last element that has begun should end; undefined where the format does not say. */
export function declaredEnd(bytes: ByteSource): number | undefined {
  const head = Buffer.from(bytes.at(0, 16))
  if (head.length < 16) return undefined
  const tag = head.toString('latin1', 0, 4)
  if (head.toString('latin1', 4, 8) === 'ftyp') return lastBoxEnd(bytes)
  if (head.readUInt32BE(0) === 0x1a45dfa3) return segmentEnd(bytes)
  if (tag === 'OggS') return lastPageEnd(bytes)
  if (tag.startsWith('FLV')) return lastTagEnd(bytes, head.readUInt32BE(5))
  if (tag === 'RIFF' && head.toString('latin1', 8, 12) === 'AVI ') return aviEnd(head.readUInt32LE(4))
  return undefined
}

function lastBoxEnd(bytes: ByteSource): number | undefined {
  let at = 0
  while (at + 8 <= bytes.size) {
    const box = bytes.at(at, 16)
    if (!/^[\w ©-]{4}$/.test(box.toString('latin1', 4, 8))) return undefined // something appended that is no box
    let size = box.readUInt32BE(0)
    if (size === 0) return undefined // to the end of the file, wherever that is
    if (size === 1) {
      if (box.length < 16) return at + 16
      size = Number(box.readBigUInt64BE(8))
    }
    if (size < 8) return undefined
    at += size
  }
  return at
}

function segmentEnd(bytes: ByteSource): number | undefined {
  const head = bytes.at(0, 4096)
  const header = vint(head, 4)
  if (header === undefined) return undefined
  const at = header.next + header.value
  if (at + 12 > head.length || head.readUInt32BE(at) !== 0x18538067) return undefined
  const size = vint(head, at + 4)
  return size === undefined || size.unknown ? undefined : size.next + size.value
}

/** EBML's variable-length number. */
function vint(bytes: Buffer, at: number): { value: number; next: number; unknown: boolean } | undefined {
  const first = bytes[at] ?? 0
  const length = Math.clz32(first) - 23
  if (length > 8 || at + length > bytes.length) return undefined
  let value = first & ((1 << (8 - length)) - 1)
  let unknown = value === (1 << (8 - length)) - 1
  for (let i = 1; i < length; i += 1) {
    value = value * 256 + bytes[at + i]!
    unknown &&= bytes[at + i] === 0xff
  }
  return { value, next: at + length, unknown }
}

function lastTagEnd(bytes: ByteSource, headerSize: number): number | undefined {
  let at = headerSize + 4
  while (at + 11 <= bytes.size) {
    const tag = bytes.at(at, 4)
    if (![8, 9, 18].includes(tag[0]! & 0x1f)) return undefined
    at += 11 + tag.readUIntBE(1, 3)
    if (at > bytes.size) return at
    at += 4 // the size of the tag before; some writers leave the last one out
  }
  return undefined
}

function aviEnd(size: number): number | undefined {
  return size === 0 || size >= unknownBytes ? undefined : 7 + size // the last byte may be padding
}
