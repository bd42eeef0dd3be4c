/**
 * How a checkpoint's talker and code predictor are sampled.
 *
 * In: `generation_config.json` as parsed JSON (or nothing). Out: {@link SpeechSettings}.
 * Reference: transformers `Qwen3OmniMoeForConditionalGeneration.generate` (defaults of its `talker_*` parameters) and
 * `Qwen3OmniMoeTalkerForConditionalGeneration.prepare_inputs_for_generation` (the code predictor's top-k and top-p).
 */

import type { SpeechAllowance } from '../../speech.ts'

export interface StageSampling {
  /** 0 is greedy. */
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly repetitionPenalty: number
}

export interface SpeechSettings {
  readonly talker: StageSampling
  readonly codePredictor: StageSampling
  /** Most codes the talker may sample in one reply. */
  readonly maxFrames: number
  /**
   * Ends a talker that misses its end token, which would occupy its slot for minutes. The default, 8 seconds and 2 more
   * a token, is longer than any complete speech.
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
 * @param fields `generation_config.json`, empty when the checkpoint has none. Unknown and ill-typed fields are ignored.
 */
export function readSpeechSettings(fields: { readonly [key: string]: unknown } = {}): SpeechSettings {
  const numberOf = (name: string, otherwise: number): number => {
    const value = fields[name]
    return typeof value === 'number' && Number.isFinite(value) ? value : otherwise
  }
  const { talker, codePredictor } = defaultSpeech
  const greedy = fields['talker_do_sample'] === false
  return {
    talker: {
      temperature: greedy ? 0 : numberOf('talker_temperature', talker.temperature),
      topK: numberOf('talker_top_k', talker.topK),
      topP: numberOf('talker_top_p', talker.topP),
      repetitionPenalty: numberOf('talker_repetition_penalty', talker.repetitionPenalty),
    },
    codePredictor: greedy ? { ...codePredictor, temperature: 0 } : codePredictor,
    maxFrames: numberOf('talker_max_new_tokens', defaultSpeech.maxFrames),
    allowance: defaultSpeech.allowance,
  }
}

/** The same settings with greedy talker and code predictor and no limit, for parity tests. */
export function exactSpeech(settings: SpeechSettings): SpeechSettings {
  return {
    ...settings,
    talker: { ...settings.talker, temperature: 0 },
    codePredictor: { ...settings.codePredictor, temperature: 0 },
    allowance: { frames: Infinity, perToken: 0 },
  }
}
