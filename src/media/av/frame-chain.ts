/**
 * Where a file of bare audio frames should end: MPEG audio, ADTS, AC-3, E-AC-3 and AMR. Pure.
 *
 * Such files have no header with a size, but each frame's header gives the frame's length. In: a file. Out: the end of
 * the last frame in bytes, which is beyond the file's end if that frame is cut off; undefined if the frames do not
 * follow one another to the end (a tag follows, or a part is damaged).
 *
 * Reference: ISO/IEC 11172-3 and 13818-3 (MPEG audio), 13818-7 (ADTS), ETSI TS 102 366 (AC-3), RFC 4867 (AMR).
 */
import type { ByteSource } from './bytes.ts'

/** Bytes of a frame that give its length. */
const headerBytes = 7
/** More than the longest accepted audio has; a file of tiny frames would keep the reader busy. */
const maxFrames = 1_000_000

export function lastFrameEnd(bytes: ByteSource): number | undefined {
  const head = Buffer.from(bytes.read(0, 10))
  const amr = amrFrames(head)
  const frameLength = amr?.length ?? codedFrameLength
  let offset = amr?.start ?? tagBytes(head)
  let frames = 0
  while (offset < bytes.size) {
    if (frames === maxFrames) return undefined
    const frame = bytes.read(offset, headerBytes)
    const length = frameLength(frame)
    if (length === undefined) {
      const cutInHeader = frames > 0 && frame.length < headerBytes && (frame[0] === 0xff || frame[0] === 0x0b)
      return cutInHeader ? offset + headerBytes : undefined
    }
    offset += length
    frames += 1
  }
  return frames < 2 ? undefined : offset
}

/** Bytes of an ID3v2 tag at the start. */
function tagBytes(head: Buffer): number {
  if (head.length < 10 || head.toString('latin1', 0, 3) !== 'ID3') return 0
  const footer = (head[5]! & 0x10) === 0 ? 0 : 10
  return 10 + footer + ((head[6]! << 21) | (head[7]! << 14) | (head[8]! << 7) | head[9]!)
}

/** Bytes of a frame after its first one, by frame type. */
const amrSizes = {
  narrow: [12, 13, 15, 17, 19, 20, 26, 31, 5, 6, 5, 5, 0, 0, 0, 0],
  wide: [17, 23, 32, 36, 40, 46, 50, 58, 60, 5, 0, 0, 0, 0, 0, 0],
} as const

function amrFrames(head: Buffer): { start: number; length: (frame: Buffer) => number | undefined } | undefined {
  const text = head.toString('latin1')
  const kind = text.startsWith('#!AMR\n') ? 'narrow' : text.startsWith('#!AMR-WB\n') ? 'wide' : undefined
  if (kind === undefined) return undefined
  return { start: kind === 'narrow' ? 6 : 9, length: (frame) => 1 + amrSizes[kind][(frame[0]! >> 3) & 15]! }
}

function codedFrameLength(frame: Buffer): number | undefined {
  if (frame.length < headerBytes) return undefined
  if (frame[0] === 0x0b && frame[1] === 0x77) return dolbyLength(frame)
  if (frame[0] !== 0xff || (frame[1]! & 0xe0) !== 0xe0) return undefined
  return (frame[1]! & 0xf6) === 0xf0 ? adtsLength(frame) : mpegLength(frame)
}

function adtsLength(frame: Buffer): number | undefined {
  const length = ((frame[3]! & 3) << 11) | (frame[4]! << 3) | (frame[5]! >> 5)
  return length < headerBytes ? undefined : length
}

const dolbyKbits = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640]

function dolbyLength(frame: Buffer): number | undefined {
  const version = frame[5]! >> 3
  if (version > 10) return 2 * ((((frame[2]! & 7) << 8) | frame[3]!) + 1)
  const code = frame[4]! & 63
  const kbits = dolbyKbits[code >> 1]
  if (kbits === undefined) return undefined
  const words = [2 * kbits, Math.floor((320 * kbits) / 147) + (code & 1), 3 * kbits][frame[4]! >> 6]
  return words === undefined ? undefined : 2 * words
}

/** Bit rates in kbit/s by layer, for MPEG-1 and for MPEG-2 and 2.5. */
const mpegKbits = {
  1: [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  ],
  2: [
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
  ],
} as const
const mpegRates = [44_100, 48_000, 32_000]

function mpegLength(frame: Buffer): number | undefined {
  const version = (frame[1]! >> 3) & 3 // 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
  const layer = 4 - ((frame[1]! >> 1) & 3)
  const kbits = mpegKbits[version === 3 ? 1 : 2][layer - 1]?.[(frame[2]! >> 4) - 1]
  const rate = mpegRates[(frame[2]! >> 2) & 3]
  if (version === 1 || kbits === undefined || rate === undefined) return undefined
  const hz = rate / (version === 3 ? 1 : version === 2 ? 2 : 4)
  const padding = (frame[2]! >> 1) & 1
  if (layer === 1) return 4 * (Math.floor((12_000 * kbits) / hz) + padding)
  return Math.floor(((layer === 3 && version !== 3 ? 72_000 : 144_000) * kbits) / hz) + padding
}
