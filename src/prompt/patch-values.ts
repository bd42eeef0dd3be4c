/**
 * Values of flattened patches for the vision encoder, stored in 8 bits and scaled on demand.
 *
 * In: 8-bit patches and the checkpoint's scale, mean and deviation of each channel. Out: single-precision values of any
 * range.
 *
 * Reference: transformers `BaseImageProcessorFast.rescale_and_normalize`.
 */

/** Rows [t * h * w, channels * temporal * patch * patch]. A `Float32Array` of scaled values is one. */
export interface PatchValues {
  /** Values of all rows. */
  readonly length: number
  /** A copy of the values [start, end). */
  slice(start: number, end: number): Float32Array
}

/** Conversion of 8-bit levels to values: `(level * rescale - mean) / deviation`. */
export interface PixelScale {
  /** Multiplied into 8-bit values: 1/255. */
  readonly rescale: number
  readonly mean: readonly [number, number, number]
  readonly deviation: readonly [number, number, number]
}

/** Patches of 8-bit RGB, a quarter of the memory of their values. */
export class BytePatches implements PatchValues {
  readonly #levels: Uint8Array
  /** Consecutive values of one channel in a row. */
  readonly #plane: number
  readonly #values: readonly Float32Array[]

  /** @param plane values of one channel in a row: temporal * patch * patch. */
  constructor(levels: Uint8Array, plane: number, scale: PixelScale) {
    this.#levels = levels
    this.#plane = plane
    this.#values = valuesOf(scale)
  }

  get length(): number {
    return this.#levels.length
  }

  slice(start: number, end: number): Float32Array {
    const levels = this.#levels
    const plane = this.#plane
    const scaled = new Float32Array(Math.max(0, Math.min(end, levels.length) - start))
    for (let at = 0; at < scaled.length;) {
      const from = start + at
      const values = this.#values[Math.floor(from / plane) % 3]!
      const next = Math.min(scaled.length, at + plane - (from % plane))
      for (; at < next; at++) scaled[at] = values[levels[start + at]!]!
    }
    return scaled
  }
}

/** The value of each 8-bit level, per channel, in single precision. */
function valuesOf({ rescale, mean, deviation }: PixelScale): Float32Array[] {
  return mean.map((average, channel) =>
    Float32Array.from({ length: 256 }, (_, level) => (level * rescale - average) / deviation[channel]!),
  )
}
