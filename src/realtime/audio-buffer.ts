/** A session's uncommitted input audio, 16 kHz mono. Positions are samples since the start of the session. */

export const SAMPLE_RATE = 16_000

export class AudioBuffer {
  #pieces: Float32Array[] = []
  #start = 0
  #length = 0

  /** Position of the first sample in the buffer. `end`: the position after the last one. */
  get start(): number {
    return this.#start
  }

  get end(): number {
    return this.#start + this.#length
  }

  get length(): number {
    return this.#length
  }

  push(samples: Float32Array): void {
    if (samples.length === 0) return
    this.#pieces.push(samples)
    this.#length += samples.length
  }

  /** Removes all samples before `position`. */
  dropBefore(position: number): void {
    while (this.#pieces.length > 0 && this.#start < position) {
      const first = this.#pieces[0]!
      const surplus = Math.min(first.length, position - this.#start)
      if (surplus === first.length) this.#pieces.shift()
      else this.#pieces[0] = first.subarray(surplus)
      this.#start += surplus
      this.#length -= surplus
    }
  }

  /** A copy of the samples in [from, to). */
  read(from: number, to: number): Float32Array {
    const first = Math.max(from, this.#start)
    const out = new Float32Array(Math.max(0, Math.min(to, this.end) - first))
    let at = this.#start
    for (const piece of this.#pieces) {
      const begin = Math.max(first, at)
      const end = Math.min(to, at + piece.length)
      if (end > begin) out.set(piece.subarray(begin - at, end - at), begin - first)
      at += piece.length
    }
    return out
  }

  /** Removes and returns all samples before `to`. */
  take(to = this.end): Float32Array {
    const out = this.read(this.#start, to)
    this.dropBefore(to)
    return out
  }
}
