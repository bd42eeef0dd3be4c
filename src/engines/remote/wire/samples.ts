/**
 * Converts a peer's audio bytes to samples. RIFF headers are removed, and an odd byte is buffered until the next piece.
 *
 * In: pieces of bytes, in order. Out: `Int16Array`s whose concatenation is the audio.
 */

import { PcmReader } from '../../../arithmetic/pcm.ts'
import { RemoteError } from '../remote-error.ts'

export class SampleReader {
  readonly #pcm = new PcmReader()

  /**
   * The samples of the next piece. @throws RemoteError for a RIFF file that is not 16-bit PCM, 24 kHz, mono
   */
  read(piece: Uint8Array): Int16Array {
    return this.#pcm.read(withoutHeader(piece))
  }
}

/** Removes a RIFF header. Each chunk of a stream may be a complete RIFF file, whatever format was requested. */
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
          `The peer's audio is a RIFF file of format ${format}, ${channels} channels, ${rate} Hz, ${bits} bits; 16-bit PCM, mono, 24,000 Hz is required.`,
          'none',
        )
      }
    }
    // The size in the header of a streamed file may be larger than the file.
    if (tag(at) === 'data') return piece.subarray(at + 8, Math.min(piece.length, at + 8 + size))
    at += 8 + size + (size & 1)
  }
  return piece.subarray(piece.length)
}
