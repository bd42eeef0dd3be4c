/**
 * Computes the log-mel spectrogram, the audio encoder's input, from audio samples.
 *
 * In: mono PCM in [-1, 1] at the extractor's sample rate. Out: [bands, frames], one frame per 10 ms.
 *
 * Reference: transformers `WhisperFeatureExtractor` (torch path) as called by `Qwen3OmniMoeProcessor`: audios of one
 * prompt are padded with silence to the longest of them before the transform.
 */

import { createYield } from './event-loop-yield.ts'
import { createFrameLevels, featureOf, floorUnder, sampleAt, SILENCE } from './mel-levels.ts'

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
 * Number of samples over which an audio's spectrogram is computed, including silence up to the longest audio of the
 * prompt. Audio that is too short to be mirrored at its ends is padded; transformers does not support it.
 */
export function paddedLength(samples: number, config: AudioFeatureConfig, longest = samples): number {
  return Math.max(samples, longest, shortest(config))
}

/** Number of frames of `samples` samples, computed over `padded` samples. */
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
  const frames = melFrames(samples.length, padded, config)
  const total = Math.floor(padded / hop)
  const levelsOf = createFrameLevels(config)
  const yieldIfDue = createYield(signal)
  const frame = new Float64Array(fftLength)
  const levels = new Float32Array(bands)
  const mel = new Float32Array(bands * frames)
  let loudest = SILENCE
  for (let t = 0; t < total; t++) {
    const pause = yieldIfDue()
    if (pause !== undefined) await pause
    const first = t * hop - fftLength / 2
    // Frames beyond the audio and its mirrored ends are silence, whose level is the floor.
    if (first >= samples.length && first + fftLength <= padded) {
      if (t < frames) for (let band = 0; band < bands; band++) mel[band * frames + t] = SILENCE
      continue
    }
    for (let i = 0; i < fftLength; i++) frame[i] = sampleAt(samples, 0, first + i, padded)
    loudest = Math.max(loudest, levelsOf(frame, levels))
    if (t < frames) for (let band = 0; band < bands; band++) mel[band * frames + t] = levels[band]!
  }
  const floor = floorUnder(loudest)
  for (let i = 0; i < mel.length; i++) mel[i] = featureOf(mel[i]!, floor)
  return { mel, frames }
}
