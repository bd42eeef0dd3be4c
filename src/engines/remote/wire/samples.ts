/**
 * Bytes of a peer's audio to samples: RIFF headers are removed, odd bytes wait for their other half.
 *
 * In: pieces as they come. Out: `Int16Array`s that join without a gap. Pure but for the byte that is kept.
 */

import { PcmReader } from '../../../arithmetic/pcm.ts'
import { RemoteError } from '../remote-error.ts'

export class SampleReader {
  readonly #pcm = new PcmReader()

  /**
   * Samples of the next piece; none for an empty one. @throws RemoteError for a RIFF file that is not 16-bit PCM at 24
   * kHz, mono.
   */
  read(piece: Uint8Array): Int16Array {
    return this.#pcm.read(withoutHeader(piece))
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
    // Streamed files declare a size that they do not have.
    if (tag(at) === 'data') return piece.subarray(at + 8, Math.min(piece.length, at + 8 + size))
    at += 8 + size + (size & 1)
  }
  return piece.subarray(piece.length)
}
