/**
 * Audio samples to the log-mel spectrogram that the audio encoder takes.
 *
 * In: mono PCM in [-1, 1] at the extractor's sample rate. Out: [bands, frames], one frame per 10 ms.
 *
 * Reference: transformers `WhisperFeatureExtractor` (torch path) as called by `Qwen3OmniMoeProcessor`: audios of one
 * prompt are padded with silence to the longest of them before the transform.
 */

import { createBreather } from './breathe.ts'
import { type MelBand, melFilters } from './mel-filters.ts'
import { createPowerSpectrum } from './real-fft.ts'

/** From preprocessor_config.json; the defaults are Qwen3-Omni's. */
export interface AudioFeatureConfig {
  /** Mel bands. */
  readonly bands: number
  readonly sampleRate: number
  /** Samples from one frame to the next. */
  readonly hop: number
  readonly fftLength: number
  /** Samples that shorter audio is padded to with silence. Default: what the transform needs. */
  readonly shortest?: number
}

export interface LogMel {
  /** [bands, frames] */
  readonly mel: Float32Array
  readonly frames: number
}

/**
 * Samples an audio is computed over: itself, or with silence after it up to the longest audio of the prompt. Audio
 * too short to be mirrored at their ends are lengthened (transformers cannot take them at all).
 */
export function paddedLength(samples: number, config: AudioFeatureConfig, longest = samples): number {
  return Math.max(samples, longest, shortest(config))
}

/** Frames that `samples` give when computed over `padded` samples. */
export function melFrames(samples: number, padded: number, config: AudioFeatureConfig): number {
  const total = Math.floor(padded / config.hop)
  return Math.min(Math.ceil(Math.max(samples, shortest(config)) / config.hop), total)
}

function shortest(config: AudioFeatureConfig): number {
  return Math.max(config.shortest ?? 0, config.fftLength / 2 + 1)
}

/**
 * Computes the spectrogram. `padded` is {@link paddedLength}. Yields to the event loop; throws the signal's reason.
 */
export async function logMel(
  samples: Float32Array,
  config: AudioFeatureConfig,
  padded = paddedLength(samples.length, config),
  signal?: AbortSignal,
): Promise<LogMel> {
  const { bands, hop, fftLength } = config
  const filters = cachedFilters(config)
  const frames = melFrames(samples.length, padded, config)
  const total = Math.floor(padded / hop)
  const window = Float64Array.from({ length: fftLength }, (_, i) =>
    // torch's Hann window is single precision.
    Math.fround(0.5 - 0.5 * Math.cos((2 * Math.PI * i) / fftLength)),
  )
  const spectrum = createPowerSpectrum(fftLength)
  const breathe = createBreather(signal)
  const frame = new Float64Array(fftLength)
  const power = new Float64Array(fftLength / 2 + 1)
  const mel = new Float32Array(bands * frames)
  let loudest = -10
  for (let t = 0; t < total; t++) {
    const pause = breathe()
    if (pause !== undefined) await pause
    const first = t * hop - fftLength / 2
    // Beyond the sound and its mirrored ends is silence, which is the floor.
    if (first >= samples.length && first + fftLength <= padded) {
      if (t < frames) for (let band = 0; band < bands; band++) mel[band * frames + t] = -10
      continue
    }
    for (let i = 0; i < fftLength; i++) frame[i] = window[i]! * sampleAt(samples, first + i, padded)
    spectrum(frame, power)
    for (let band = 0; band < bands; band++) {
      const { start, weights } = filters[band]!
      let energy = 0
      for (let i = 0; i < weights.length; i++) energy += weights[i]! * power[start + i]!
      const level = Math.log10(Math.max(energy, 1e-10))
      if (level > loudest) loudest = level
      if (t < frames) mel[band * frames + t] = level
    }
  }
  const floor = loudest - 8
  for (let i = 0; i < mel.length; i++) mel[i] = (Math.max(mel[i]!, floor) + 4) / 4
  return { mel, frames }
}

/** The sample at `index`, mirrored at both ends of the padded sound (torch.stft's `reflect`). */
function sampleAt(samples: Float32Array, index: number, padded: number): number {
  let at = index < 0 ? -index : index
  if (at >= padded) at = 2 * (padded - 1) - at
  return at < samples.length ? samples[at]! : 0
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
