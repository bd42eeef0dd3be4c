/**
 * The waveform outline: the loudest sample of each 20 ms, extended as audio arrives.
 */
const BIN = 480 // samples: 20 ms at 24 kHz

export class Peaks {
  readonly bins: number[] = []
  #filled = 0
  #peak = 0

  /** Adds samples; finished bins appear in {@link bins} as 0 to 1. */
  add(samples: Int16Array): void {
    for (const sample of samples) {
      const size = Math.abs(sample)
      if (size > this.#peak) this.#peak = size
      if (++this.#filled === BIN) this.#close()
    }
  }

  #close(): void {
    this.bins.push(this.#peak / 32768)
    this.#filled = 0
    this.#peak = 0
  }

  static of(samples: Int16Array): Peaks {
    const peaks = new Peaks()
    peaks.add(samples)
    return peaks
  }
}

/** Squeezes bins into `columns` values, each the loudest of its share. Fewer bins than columns are kept as they are. */
export function fitPeaks(bins: readonly number[], columns: number): number[] {
  if (bins.length <= columns) return [...bins]
  const result: number[] = []
  for (let column = 0; column < columns; column++) {
    const from = Math.floor((column * bins.length) / columns)
    const to = Math.max(from + 1, Math.floor(((column + 1) * bins.length) / columns))
    let peak = 0
    for (let i = from; i < to; i++) peak = Math.max(peak, bins[i]!)
    result.push(peak)
  }
  return result
}
