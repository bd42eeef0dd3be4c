/**
 * Sampling settings of a checkpoint's talker and code predictor.
 *
 * In: `generation_config.json` as parsed JSON (or nothing). Out: {@link SpeechSettings}.
 * Reference: transformers `Qwen3OmniMoeForConditionalGeneration.generate` (defaults of its `talker_*` parameters) and
 * `Qwen3OmniMoeTalkerForConditionalGeneration.prepare_inputs_for_generation` (the code predictor's top-k and top-p).
 */

import type { SpeechAllowance } from '../../speech.ts'
import { readTalkerSampling, type TalkerSampling } from '../../talker-sampling.ts'

export interface SpeechSettings {
  readonly talker: TalkerSampling
  readonly codePredictor: TalkerSampling
  /** Most codes of one reply. */
  readonly maxFrames: number
  /**
   * Limit for a talker that misses its end token, which would occupy its slot for minutes. The default of 8 seconds
   * plus 2 per text token is longer than any complete speech.
   */
  readonly allowance: SpeechAllowance
}

/** transformers' defaults. */
export const defaultSpeech: SpeechSettings = {
  talker: { temperature: 0.9, topK: 50, topP: 1, repetitionPenalty: 1.05 },
  codePredictor: { temperature: 1, topK: 50, topP: 0.8, repetitionPenalty: 1 },
  maxFrames: 4096,
  // Frames are 80 ms long.
  allowance: { frames: 100, perToken: 25 },
}

/**
 * @param fields `generation_config.json`, empty when the checkpoint has none.
 * @throws EngineError `bad_checkpoint` naming a field that cannot be used.
 */
export function readSpeechSettings(fields: { readonly [key: string]: unknown } = {}): SpeechSettings {
  const { greedy, ...read } = readTalkerSampling(fields, defaultSpeech)
  const { codePredictor } = defaultSpeech
  return { ...defaultSpeech, ...read, codePredictor: greedy ? { ...codePredictor, temperature: 0 } : codePredictor }
}

/** The same settings with greedy sampling and without a limit, for parity tests. */
export function exactSpeech(settings: SpeechSettings): SpeechSettings {
  return {
    ...settings,
    talker: { ...settings.talker, temperature: 0 },
    codePredictor: { ...settings.codePredictor, temperature: 0 },
    allowance: { frames: Infinity, perToken: 0 },
  }
}
