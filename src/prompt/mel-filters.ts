/**
 * Slaney's mel filter bank: the weight of each FFT bin in each mel band.
 *
 * Reference: transformers `mel_filter_bank(norm="slaney", mel_scale="slaney")`, librosa `filters.mel`.
 */

/** One band: weights of the FFT bins `start`, `start + 1`, ... */
export interface MelBand {
  readonly start: number
  readonly weights: Float64Array
}

/** `bands` triangles between 0 and 8,000 Hz over the bins of an FFT of length `fftLength` at `sampleRate`. */
export function melFilters(bands: number, fftLength: number, sampleRate: number): MelBand[] {
  const bins = 1 + Math.floor(fftLength / 2)
  const top = hertzToMel(8000)
  const edges = Float64Array.from({ length: bands + 2 }, (_, i) => melToHertz((top * i) / (bands + 1)))
  const binHertz = Math.floor(sampleRate / 2) / (bins - 1)
  return Array.from({ length: bands }, (_, band) => {
    const [low, centre, high] = [edges[band]!, edges[band + 1]!, edges[band + 2]!]
    const area = 2 / (high - low)
    const values: number[] = []
    let start = 0
    for (let bin = 0; bin < bins; bin++) {
      const hertz = bin * binHertz
      const height = Math.min((hertz - low) / (centre - low), (high - hertz) / (high - centre))
      if (height > 0) {
        if (values.length === 0) start = bin
        values.push(height * area)
      }
    }
    return { start, weights: Float64Array.from(values) }
  })
}

function hertzToMel(hertz: number): number {
  return hertz < 1000 ? (3 * hertz) / 200 : 15 + (Math.log(hertz / 1000) * 27) / Math.log(6.4)
}

function melToHertz(mel: number): number {
  return mel < 15 ? (200 * mel) / 3 : 1000 * Math.exp((Math.log(6.4) / 27) * (mel - 15))
}
