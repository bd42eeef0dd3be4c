/**
 * Streaming resampler from one sample rate to another.
 *
 * In: pieces of mono samples. Out: pieces at the new rate; their concatenation does not depend on how the input is
 * split. A windowed sinc (Kaiser, beta 8, 16 zero crossings on each side) with its cutoff below half of the lower rate.
 * Reference: J. O. Smith, "Digital Audio Resampling".
 */

const CROSSINGS = 16
const BETA = 8

export interface Resampler {
  push(samples: Float32Array): Float32Array
}

/** Rates in hertz, integers. */
export function createResampler(from: number, to: number): Resampler {
  return from === to ? { push: (samples) => samples } : new SincResampler(from, to)
}

class SincResampler implements Resampler {
  /** The filter phase repeats every `up` output samples. */
  readonly #up: number
  readonly #down: number
  readonly #half: number
  /** [up, 2 x half] */
  readonly #taps: readonly Float32Array[]
  #buffered: Float32Array
  /** Index, in input samples, of the first one buffered. */
  #base: number
  #next = 0

  constructor(from: number, to: number) {
    const divisor = greatestDivisor(from, to)
    this.#up = to / divisor
    this.#down = from / divisor
    const cutoff = Math.min(1, to / from) * 0.95
    this.#half = Math.ceil(CROSSINGS / cutoff)
    this.#taps = Array.from({ length: this.#up }, (_, phase) => tapsOf(phase / this.#up, this.#half, cutoff))
    // Silence before the first sample.
    this.#buffered = new Float32Array(this.#half)
    this.#base = -this.#half
  }

  push(samples: Float32Array): Float32Array {
    const all = new Float32Array(this.#buffered.length + samples.length)
    all.set(this.#buffered)
    all.set(samples, this.#buffered.length)
    const end = this.#base + all.length
    const out: number[] = []
    for (;;) {
      const position = this.#next * this.#down
      const centre = Math.floor(position / this.#up)
      if (centre + this.#half >= end) break
      const taps = this.#taps[position % this.#up]!
      const start = centre - this.#half + 1 - this.#base
      let sum = 0
      for (let i = 0; i < taps.length; i += 1) sum += taps[i]! * all[start + i]!
      out.push(sum)
      this.#next += 1
    }
    const first = Math.floor((this.#next * this.#down) / this.#up) - this.#half + 1
    const drop = Math.max(0, Math.min(all.length, first - this.#base))
    this.#buffered = all.slice(drop)
    this.#base += drop
    return Float32Array.from(out)
  }
}

/** Filter weights for a point that lies `fraction` of a sample after the centre sample. */
function tapsOf(fraction: number, half: number, cutoff: number): Float32Array {
  const taps = new Float32Array(2 * half)
  let sum = 0
  for (let i = 0; i < taps.length; i += 1) {
    const distance = i - half + 1 - fraction
    const window = Math.abs(distance) >= half ? 0 : bessel(BETA * Math.sqrt(1 - (distance / half) ** 2)) / bessel(BETA)
    taps[i] = cutoff * sinc(distance * cutoff) * window
    sum += taps[i]!
  }
  return taps.map((tap) => tap / sum)
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)
}

/** The modified Bessel function of order 0, by its series. */
function bessel(x: number): number {
  let term = 1
  let sum = 1
  for (let k = 1; k < 40; k += 1) {
    term *= (x / (2 * k)) ** 2
    sum += term
  }
  return sum
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b)
}
