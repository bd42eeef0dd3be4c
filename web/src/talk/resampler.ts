/**
 * Resamples streamed audio to a lower or equal rate, without a discontinuity between the pieces.
 *
 * In: mono samples at one rate, any number at a time. Out: samples at the other rate; the last few wait for what
 * follows. Method: windowed-sinc interpolation (Hann window), cut off below half of the lower rate. Reference: Smith,
 * "Digital Audio Resampling", bandlimited interpolation.
 */

/** Zero crossings on each side. */
const LOBES = 16
/** Share of the band that is kept; the rest is the filter's transition. */
const PASS = 0.92
/** Values of the filter per input sample; between them it is interpolated. */
const FINE = 256

export class StreamResampler {
  readonly #step: number
  readonly #reach: number
  /** One side of the filter. */
  readonly #kernel: Float32Array
  /** Samples not yet filtered, and the position of the next output among them. */
  #held: Float32Array
  #at: number

  constructor(from: number, to: number) {
    this.#step = from / to
    const cutoff = Math.min(1, to / from) * PASS
    this.#reach = Math.ceil(LOBES / cutoff)
    this.#kernel = Float32Array.from({ length: this.#reach * FINE + 2 }, (_, index) => {
      const distance = index / FINE
      const x = Math.PI * distance * cutoff
      const window = distance >= this.#reach ? 0 : 0.5 + 0.5 * Math.cos((Math.PI * distance) / this.#reach)
      return (x === 0 ? 1 : Math.sin(x) / x) * window * cutoff
    })
    this.#held = new Float32Array(this.#reach)
    this.#at = this.#reach
  }

  push(samples: Float32Array): Float32Array {
    const held = new Float32Array(this.#held.length + samples.length)
    held.set(this.#held)
    held.set(samples, this.#held.length)
    const result: number[] = []
    while (this.#at + this.#reach < held.length) {
      result.push(this.#valueAt(held, this.#at))
      this.#at += this.#step
    }
    const passed = Math.max(0, Math.floor(this.#at) - this.#reach)
    this.#held = held.slice(passed)
    this.#at -= passed
    return Float32Array.from(result)
  }

  #valueAt(samples: Float32Array, at: number): number {
    let sum = 0
    for (let index = Math.ceil(at - this.#reach); index <= at + this.#reach; index++) {
      const place = Math.abs(at - index) * FINE
      const low = Math.floor(place)
      const share = place - low
      sum += samples[index]! * (this.#kernel[low]! * (1 - share) + this.#kernel[low + 1]! * share)
    }
    return sum
  }
}
