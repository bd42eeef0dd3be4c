/**
 * Collects samples from a decoder, written once to their final memory.
 *
 * In: pieces of little-endian 32-bit floats, and the expected number of samples. Out: mono PCM at {@link audioRate}.
 */
import type { MonoPcm } from '../../contract/index.ts'
import { audioRate } from './rate.ts'

export class ArrivingSamples {
  #bytes: Uint8Array<ArrayBuffer>
  #filled = 0

  /** @param expected samples, by the header: when more come they are moved to larger memory. */
  constructor(expected: number) {
    this.#bytes = new Uint8Array(4 * expected)
  }

  get empty(): boolean {
    return this.#filled === 0
  }

  push(piece: Uint8Array): void {
    const end = this.#filled + piece.length
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(4 * Math.ceil(Math.max(end, 1.25 * this.#bytes.length) / 4))
      larger.set(this.#bytes.subarray(0, this.#filled))
      this.#bytes = larger
    }
    this.#bytes.set(piece, this.#filled)
    this.#filled = end
  }

  get pcm(): MonoPcm {
    return { sampleRate: audioRate, samples: new Float32Array(this.#bytes.buffer, 0, this.#filled / 4) }
  }
}
