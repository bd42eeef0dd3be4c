/**
 * Splits a stream of samples into the Base64 pieces of `delta.audio.data`.
 *
 * Clients either join the pieces as strings and decode once, or decode each piece as 16-bit samples. Both work only
 * when every piece but the last is a multiple of 6 bytes: of 3 for Base64 without padding, of 2 for whole samples.
 */

const SAMPLES_PER_UNIT = 3

/** Samples of one piece: 240 ms. */
const MAX_SAMPLES = 5_760

export class AudioPieces {
  #rest = new Int16Array(0)
  #samples = 0

  /** Samples added so far. */
  get samples(): number {
    return this.#samples
  }

  /** Adds 24 kHz mono samples. Returns the complete pieces. */
  *push(pcm: Int16Array): Generator<string> {
    this.#samples += pcm.length
    let all = pcm
    if (this.#rest.length > 0) {
      all = new Int16Array(this.#rest.length + pcm.length)
      all.set(this.#rest)
      all.set(pcm, this.#rest.length)
    }
    const whole = all.length - (all.length % SAMPLES_PER_UNIT)
    for (let at = 0; at < whole; at += MAX_SAMPLES) yield toBase64(all.subarray(at, Math.min(at + MAX_SAMPLES, whole)))
    this.#rest = all.slice(whole)
  }

  /** The last, shorter piece, if there are samples left. */
  *end(): Generator<string> {
    if (this.#rest.length > 0) yield toBase64(this.#rest)
    this.#rest = new Int16Array(0)
  }
}

/** Little-endian, which is every machine Node runs on. */
function toBase64(samples: Int16Array): string {
  return Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength).toString('base64')
}
