/**
 * Sampling defaults that come with a checkpoint: end tokens and how its talker is sampled.
 *
 * In: `generation_config.json` as parsed JSON (or nothing). Out: {@link GenerationSettings}.
 * Reference: transformers `Qwen3OmniMoeForConditionalGeneration.generate` (defaults of its `talker_*` parameters) and
 * `Qwen3OmniMoeTalkerForConditionalGeneration.prepare_inputs_for_generation` (the code predictor's top-k and top-p).
 */

export interface StageSampling {
  /** 0 is greedy. */
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly repetitionPenalty: number
}

/** How long speech may get for a text: `frames`, and `perToken` more for each token spoken. */
export interface SpeechAllowance {
  readonly frames: number
  readonly perToken: number
}

export interface GenerationSettings {
  /** Thinker ids that end the reply. */
  readonly endTokenIds: readonly number[]
  readonly talker: StageSampling
  readonly codePredictor: StageSampling
  /** Most codes the talker may sample in one reply. */
  readonly maxSpeechFrames: number
  /**
   * Ends a talker that misses its end token, which would hold its place for minutes. A token of text is a third of a second of speech on
   * average and a long word or number a second or two, so the default (8 seconds and 2 more a token) cuts no speech that says its text.
   */
  readonly speechAllowance: SpeechAllowance
}

/** transformers' defaults. */
export const defaultGeneration: GenerationSettings = {
  endTokenIds: [],
  talker: { temperature: 0.9, topK: 50, topP: 1, repetitionPenalty: 1.05 },
  codePredictor: { temperature: 1, topK: 50, topP: 0.8, repetitionPenalty: 1 },
  maxSpeechFrames: 4096,
  // Frames are 80 ms long.
  speechAllowance: { frames: 100, perToken: 25 },
}

/**
 * @param config `generation_config.json`, or undefined when the checkpoint has none. Unknown and ill-typed fields are ignored.
 * @param endTokenId the template's end of turn, always an end token.
 */
export function readGenerationSettings(config: unknown, endTokenId: number): GenerationSettings {
  const fields: Record<string, unknown> = typeof config === 'object' && config !== null ? { ...config } : {}
  const numberOf = (name: string, otherwise: number): number => {
    const value = fields[name]
    return typeof value === 'number' && Number.isFinite(value) ? value : otherwise
  }
  const listed = Array.isArray(fields['eos_token_id']) ? fields['eos_token_id'] : [fields['eos_token_id']]
  const ends = new Set<number>([endTokenId, ...listed.filter((id): id is number => Number.isInteger(id))])
  const { talker, codePredictor } = defaultGeneration
  const greedy = fields['talker_do_sample'] === false
  return {
    endTokenIds: [...ends],
    talker: {
      temperature: greedy ? 0 : numberOf('talker_temperature', talker.temperature),
      topK: numberOf('talker_top_k', talker.topK),
      topP: numberOf('talker_top_p', talker.topP),
      repetitionPenalty: numberOf('talker_repetition_penalty', talker.repetitionPenalty),
    },
    codePredictor: greedy ? { ...codePredictor, temperature: 0 } : codePredictor,
    maxSpeechFrames: numberOf('talker_max_new_tokens', defaultGeneration.maxSpeechFrames),
    speechAllowance: defaultGeneration.speechAllowance,
  }
}

/** The same settings with the talker and the code predictor greedy and as long as they like, as parity tests want them. */
export function greedySpeech(settings: GenerationSettings): GenerationSettings {
  return {
    ...settings,
    talker: { ...settings.talker, temperature: 0 },
    codePredictor: { ...settings.codePredictor, temperature: 0 },
    speechAllowance: { frames: Infinity, perToken: 0 },
  }
}
