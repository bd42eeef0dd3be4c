/**
 * Reads and validates the talker's sampling settings in generation_config.json.
 *
 * In: the parsed file, and the defaults of the family's transformers class. Out: {@link TalkerSampling} and the frame
 * limit, or `EngineError('bad_checkpoint')` naming the field.
 */

import { ConfigReader } from './config-reader.ts'

export interface TalkerSampling {
  /** 0 is greedy. */
  readonly temperature: number
  /** 0: all codes. */
  readonly topK: number
  readonly topP: number
  readonly repetitionPenalty: number
}

/** Codes of several hours. */
const MOST_CODES = 2 ** 20

/** `fields`: unknown ones are ignored. */
export function readTalkerSampling(
  fields: { readonly [key: string]: unknown },
  defaults: { readonly talker: TalkerSampling; readonly maxFrames: number },
): { readonly greedy: boolean; readonly talker: TalkerSampling; readonly maxFrames: number } {
  const reader = new ConfigReader(fields, '', 'generation_config.json')
  const { talker } = defaults
  const greedy = !reader.boolean('talker_do_sample', true)
  const temperature = reader.number('talker_temperature', talker.temperature, { least: 0, most: 100 })
  return {
    greedy,
    talker: {
      temperature: greedy ? 0 : temperature,
      topK: reader.integer('talker_top_k', { least: 0, fallback: talker.topK }),
      topP: reader.number('talker_top_p', talker.topP, { above: 0, most: 1 }),
      repetitionPenalty: reader.number('talker_repetition_penalty', talker.repetitionPenalty, { least: 0.01, most: 100 }),
    },
    maxFrames: reader.integer('talker_max_new_tokens', { most: MOST_CODES, fallback: defaults.maxFrames }),
  }
}
