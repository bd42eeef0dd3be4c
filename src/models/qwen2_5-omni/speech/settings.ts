/**
 * Settings of speech: sampling of the talker, and the diffusion vocoder.
 *
 * In: `generation_config.json` as parsed JSON (or nothing; the published one has no speech settings). Out: {@link
 * SpeechSettings}. Reference: transformers `Qwen2_5OmniForConditionalGeneration.generate` (defaults of its `talker_*`
 * parameters).
 */

import type { DiffusionOptions, SpeechAllowance } from '../../speech.ts'
import { readTalkerSampling, type TalkerSampling } from '../../talker-sampling.ts'
import type { SolverSettings } from '../token2wav/mel-sampler.ts'

export interface DiffusionSettings extends SolverSettings {
  /** See `DiffusionOptions.windows`. */
  readonly windowBlocks: readonly number[]
}

export interface SpeechSettings {
  readonly diffusion: DiffusionSettings
  readonly talker: TalkerSampling
  /** Most codes of one reply. */
  readonly maxFrames: number
  /**
   * Limit for a talker that misses its end token: 8 seconds, plus 2 per text token, which is longer than any complete
   * speech.
   */
  readonly allowance: SpeechAllowance
}

/** transformers' defaults. */
export const defaultSpeech: SpeechSettings = {
  talker: { temperature: 0.9, topK: 40, topP: 0.8, repetitionPenalty: 1.05 },
  // As in Qwen's own engine: Euler over the reference's times, and a first window of three blocks. Later windows are
  // longer, because each also computes three blocks of context.
  diffusion: { solver: 'euler', points: 10, guidance: 0.5, windowBlocks: [3, 6, 12] },
  maxFrames: 4096,
  // Codes are 20 ms long.
  allowance: { frames: 400, perToken: 100 },
}

/**
 * @param fields `generation_config.json`, empty when the checkpoint has none.
 * @throws EngineError `bad_checkpoint` naming a field that cannot be used.
 */
export function readSpeechSettings(fields: { readonly [key: string]: unknown } = {}): SpeechSettings {
  const { talker, maxFrames } = readTalkerSampling(fields, defaultSpeech)
  return { ...defaultSpeech, talker, maxFrames }
}

/** The settings, with options that override the defaults. */
export function withDiffusion(settings: SpeechSettings, asked: DiffusionOptions = {}): SpeechSettings {
  const { solver, points, guidance, windowBlocks } = settings.diffusion
  return {
    ...settings,
    diffusion: {
      solver: asked.solver ?? solver,
      points: asked.steps === undefined ? points : asked.steps + 1,
      guidance: asked.guidance ?? guidance,
      windowBlocks: asked.windows ?? windowBlocks,
    },
  }
}

/** The settings of the reference: greedy sampling without a limit, and the whole reply in one window. */
export function exactSpeech(settings: SpeechSettings): SpeechSettings {
  return {
    ...settings,
    talker: { ...settings.talker, temperature: 0 },
    diffusion: { solver: 'rk4', points: 10, guidance: 0.5, windowBlocks: [Infinity] },
    allowance: { frames: Infinity, perToken: 0 },
  }
}
