/**
 * Incremental log-mel levels, before the floor is applied, for audio that is still arriving.
 *
 * In: samples in pieces of any size. Out: log10 energies of frames that no later sample changes, and, once the audio is
 * complete, its spectrogram, which equals the one computed at once. The floor is 8 below the loudest level, so it may
 * rise until the audio is complete.
 *
 * Reference: transformers `WhisperFeatureExtractor` (torch path).
 */

import type { AudioFeatureConfig } from './log-mel.ts'
import { type MelBand, melFilters } from './mel-filters.ts'
import { createPowerSpectrum } from './real-fft.ts'

/** Level of silence. */
export const SILENCE = -10

/** Distance of the floor from the loudest level. */
const RANGE = 8

/** Frames per memory block. */
const BLOCK = 100

type FrameLevels = (frame: Float64Array, out: Float32Array) => number

/**
 * Returns a function that turns the samples of one frame, which it overwrites, into [bands] levels. It returns the
 * loudest, at least {@link SILENCE}.
 */
export function createFrameLevels(config: AudioFeatureConfig): FrameLevels {
  const { fftLength } = config
  const filters = cachedFilters(config)
  const window = Float64Array.from({ length: fftLength }, (_, i) =>
    // torch's Hann window is single precision.
    Math.fround(0.5 - 0.5 * Math.cos((2 * Math.PI * i) / fftLength)),
  )
  const spectrum = createPowerSpectrum(fftLength)
  const power = new Float64Array(fftLength / 2 + 1)
  return (frame, out) => {
    for (let i = 0; i < fftLength; i++) frame[i] = window[i]! * frame[i]!
    spectrum(frame, power)
    let loudest = SILENCE
    for (let band = 0; band < filters.length; band++) {
      const { start, weights } = filters[band]!
      let energy = 0
      for (let i = 0; i < weights.length; i++) energy += weights[i]! * power[start + i]!
      const level = Math.log10(Math.max(energy, 1e-10))
      if (level > loudest) loudest = level
      out[band] = level
    }
    return loudest
  }
}

export function floorUnder(loudest: number): number {
  return loudest - RANGE
}

/** The encoder's input for a level. */
export function featureOf(level: number, floor: number): number {
  return (Math.max(level, floor) + 4) / 4
}

/**
 * The sample at `index`, mirrored at both ends of the padded audio (torch.stft's `reflect`). `samples` start at `base`.
 */
export function sampleAt(samples: Float32Array, base: number, index: number, padded: number): number {
  let at = index < 0 ? -index : index
  if (at >= padded) at = 2 * (padded - 1) - at
  at -= base
  return at < samples.length ? samples[at]! : 0
}

export class MelLevels {
  readonly config: AudioFeatureConfig
  readonly #levelsOf: FrameLevels
  readonly #frame: Float64Array
  /** Each [frames of a block, bands]. */
  readonly #blocks: Float32Array[] = []
  /** Lowest level of each frame. */
  #lowest = new Float32Array(BLOCK)
  /** Samples that later frames need, from `#base` on. */
  #kept = new Float32Array(0)
  #base = 0
  #samples = 0
  #frames = 0
  #loudest = SILENCE
  #loudestAt = 0

  constructor(config: AudioFeatureConfig) {
    this.config = config
    this.#levelsOf = createFrameLevels(config)
    this.#frame = new Float64Array(config.fftLength)
  }

  get samples(): number {
    return this.#samples
  }

  /** Number of computed frames. Later samples do not change them. */
  get frames(): number {
    return this.#frames
  }

  /** The last frame that raised the floor. */
  get loudestAt(): number {
    return this.#loudestAt
  }

  /** The current floor, to which lower levels are raised. */
  get floor(): number {
    return floorUnder(this.#loudest)
  }

  /** Bytes of memory in use. */
  get bytes(): number {
    return this.#blocks.length * BLOCK * this.config.bands * 4 + this.#kept.byteLength
  }

  /** Whether there are frames to compute. */
  get behind(): boolean {
    return this.#frames < this.#ready
  }

  /** Adds samples. {@link advance} computes frames. */
  push(samples: Float32Array): void {
    const kept = new Float32Array(this.#kept.length + samples.length)
    kept.set(this.#kept)
    kept.set(samples, this.#kept.length)
    this.#kept = kept
    this.#samples += samples.length
  }

  /** Computes at most `most` frames. Returns whether more can be computed. */
  advance(most: number): boolean {
    const { hop, fftLength, bands } = this.config
    const until = Math.min(this.#ready, this.#frames + most)
    for (let t = this.#frames; t < until; t++) {
      const place = t % BLOCK
      if (place === 0) this.#blocks.push(new Float32Array(BLOCK * bands))
      const out = this.#blocks.at(-1)!.subarray(place * bands, (place + 1) * bands)
      const loudest = this.#compute(t, Infinity, out)
      if (loudest > this.#loudest) {
        this.#loudest = loudest
        this.#loudestAt = t
      }
      if (t >= this.#lowest.length) this.#lowest = grown(this.#lowest)
      this.#lowest[t] = out.reduce((least, level) => Math.min(least, level))
    }
    this.#frames = Math.max(this.#frames, until)
    // The last two windows extend into the mirrored end.
    const drop = this.#frames * hop - 2 * fftLength - this.#base
    if (drop > fftLength) {
      this.#kept = this.#kept.slice(drop)
      this.#base += drop
    }
    return this.behind
  }

  /** The lowest level in computed frames [from, until). */
  lowest(from: number, until: number): number {
    let least = Infinity
    for (let t = from; t < until; t++) least = Math.min(least, this.#lowest[t]!)
    return least
  }

  /** The encoder's input for computed frames [from, until) with a floor: [bands, until - from]. */
  features(from: number, until: number, floor: number): Float32Array {
    const out = new Float32Array((until - from) * this.config.bands)
    this.#fill(out, until - from, from, until, floor)
    return out
  }

  /**
   * The whole spectrogram of the samples so far, over `padded` samples: [bands, frames], and its floor. More samples
   * may be added afterwards. All frames must have been computed by `advance`.
   */
  complete(frames: number, padded: number): { mel: Float32Array; floor: number } {
    const { hop, bands, fftLength } = this.config
    const total = Math.floor(padded / hop)
    const ends = new Float32Array(Math.max(0, frames - this.#frames) * bands).fill(SILENCE)
    const beyond = new Float32Array(bands)
    let loudest = this.#loudest
    for (let t = this.#frames; t < total; t++) {
      const first = t * hop - fftLength / 2
      if (first >= this.#samples && first + fftLength <= padded) continue
      const place = t - this.#frames
      const out = t < frames ? ends.subarray(place * bands, (place + 1) * bands) : beyond
      loudest = Math.max(loudest, this.#compute(t, padded, out))
    }
    const floor = floorUnder(loudest)
    const mel = new Float32Array(bands * frames)
    this.#fill(mel, frames, 0, Math.min(frames, this.#frames), floor)
    for (let t = this.#frames; t < frames; t++)
      for (let band = 0; band < bands; band++)
        mel[band * frames + t] = featureOf(ends[(t - this.#frames) * bands + band]!, floor)
    return { mel, floor }
  }

  /** Number of frames whose samples have all arrived. */
  get #ready(): number {
    const { hop, fftLength } = this.config
    return Math.max(0, Math.floor((this.#samples - fftLength / 2 - 1) / hop) + 1)
  }

  #compute(t: number, padded: number, out: Float32Array): number {
    const { hop, fftLength } = this.config
    const first = t * hop - fftLength / 2
    for (let i = 0; i < fftLength; i++) this.#frame[i] = sampleAt(this.#kept, this.#base, first + i, padded)
    return this.#levelsOf(this.#frame, out)
  }

  #fill(out: Float32Array, stride: number, from: number, until: number, floor: number): void {
    const { bands } = this.config
    for (let t = from; t < until; t++) {
      const block = this.#blocks[Math.floor(t / BLOCK)]!
      const place = (t % BLOCK) * bands
      for (let band = 0; band < bands; band++) out[band * stride + t - from] = featureOf(block[place + band]!, floor)
    }
  }
}

function grown(values: Float32Array): Float32Array<ArrayBuffer> {
  const larger = new Float32Array(2 * values.length)
  larger.set(values)
  return larger
}

const filterCache = new Map<string, MelBand[]>()

function cachedFilters({ bands, fftLength, sampleRate }: AudioFeatureConfig): MelBand[] {
  const key = `${bands} ${fftLength} ${sampleRate}`
  let filters = filterCache.get(key)
  if (filters === undefined) {
    filters = melFilters(bands, fftLength, sampleRate)
    filterCache.set(key, filters)
  }
  return filters
}
