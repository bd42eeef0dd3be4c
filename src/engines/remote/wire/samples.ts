/**
 * Bytes of a peer's audio to samples: RIFF headers are taken off, odd bytes wait for their other half.
 *
 * In: pieces as they come. Out: `Int16Array`s that join without a gap. Pure but for the byte that is kept.
 */

import { RemoteError } from '../remote-error.ts'

export class SampleReader {
  #odd: number | undefined

  /** Samples of the next piece; none for an empty one. @throws RemoteError for a RIFF file that is not 16-bit PCM at 24 kHz, mono. */
  read(piece: Uint8Array): Int16Array {
    const body = withoutHeader(piece)
    const carried = this.#odd === undefined ? 0 : 1
    const whole = (carried + body.length) & ~1
    const bytes = new Uint8Array(whole)
    if (this.#odd !== undefined && whole > 0) bytes[0] = this.#odd
    bytes.set(body.subarray(0, Math.max(0, whole - carried)), carried)
    if (whole < carried + body.length) this.#odd = body.at(-1) ?? this.#odd
    else this.#odd = undefined
    const view = new DataView(bytes.buffer)
    return Int16Array.from({ length: whole / 2 }, (_, index) => view.getInt16(index * 2, true))
  }
}

/** Each chunk of a stream may be a RIFF file of its own, whatever format was asked for. */
function withoutHeader(piece: Uint8Array): Uint8Array {
  const view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength)
  const tag = (at: number): string => String.fromCharCode(...piece.subarray(at, at + 4))
  if (piece.length < 12 || tag(0) !== 'RIFF' || tag(8) !== 'WAVE') return piece
  for (let at = 12; at + 8 <= piece.length;) {
    const size = view.getUint32(at + 4, true)
    if (tag(at) === 'fmt ' && at + 24 <= piece.length) {
      const [format, channels] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)]
      const [rate, bits] = [view.getUint32(at + 12, true), view.getUint16(at + 22, true)]
      if (format !== 1 || channels !== 1 || rate !== 24_000 || bits !== 16) {
        throw new RemoteError(
          'upstream_failed',
          `The peer speaks in a RIFF file of format ${format}, ${channels} channels, ${rate} Hz, ${bits} bits; 16-bit PCM, mono, 24,000 Hz is required.`,
          'none',
        )
      }
    }
    // Streamed files name a size that they do not have.
    if (tag(at) === 'data') return piece.subarray(at + 8, Math.min(piece.length, at + 8 + size))
    at += 8 + size + (size & 1)
  }
  return piece.subarray(piece.length)
}
