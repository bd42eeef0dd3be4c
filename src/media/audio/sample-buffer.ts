/**
 * A buffer for the samples that a decoder sends, sized in advance so that each sample is copied once.
 *
 * In: pieces of little-endian 32-bit floats, and the expected number of samples. Out: mono PCM at {@link audioRate}.
 */
import type { MonoPcm } from '../../contract/index.ts'
import { audioRate } from './rate.ts'

export class SampleBuffer {
  #bytes: Uint8Array<ArrayBuffer>
  #filled = 0

  /** @param expected number of samples that the header declares; the buffer grows when more arrive */
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
