/**
 * A checkpoint's serving defaults: its sampling, and the longest conversation it supports.
 *
 * In: `default_sampling`, `max_history_turns`, `max_spoken_history_turns` and `history_audio` of
 * `generation_config.json`, which are extensions of omniserve. Without them, the API model's defaults apply. Out:
 * {@link ServingDefaults}.
 */

import { z } from 'zod'
import { EngineError, type EngineModel } from '../contract/index.ts'
import type { FileSource } from '../prompt/checkpoint-files.ts'

export type ServingDefaults = Pick<EngineModel, 'sampling' | 'historyTurns' | 'spokenHistoryTurns' | 'historyAudio'>

const schema = z.object({
  default_sampling: z
    .strictObject({
      temperature: z.number().min(0).lt(2).optional(),
      top_p: z.number().gt(0).max(1).optional(),
      top_k: z.int().min(0).optional(),
      presence_penalty: z.number().min(-2).max(2).optional(),
      repetition_penalty: z.number().gt(0).optional(),
    })
    .optional(),
  max_history_turns: z.int().min(1).optional(),
  max_spoken_history_turns: z.int().min(1).optional(),
  history_audio: z.enum(['audio', 'transcript']).optional(),
})

/** Reads the defaults of a checkpoint. @throws EngineError `bad_checkpoint` naming the field */
export async function readServingDefaults(source: FileSource): Promise<ServingDefaults> {
  const text = await source.readText('generation_config.json')
  if (text === undefined) return {}
  const parsed = schema.safeParse(JSON.parse(text))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new EngineError(
      'bad_checkpoint',
      `generation_config.json in ${source.location}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}. Correct or remove the field.`,
    )
  }
  const { default_sampling: asked, max_history_turns: historyTurns, history_audio: historyAudio } = parsed.data
  const { max_spoken_history_turns: spokenHistoryTurns } = parsed.data
  return {
    ...(asked && {
      sampling: {
        ...(asked.temperature !== undefined && { temperature: asked.temperature }),
        ...(asked.top_p !== undefined && { topP: asked.top_p }),
        ...(asked.top_k !== undefined && { topK: asked.top_k }),
        ...(asked.presence_penalty !== undefined && { presencePenalty: asked.presence_penalty }),
        ...(asked.repetition_penalty !== undefined && { repetitionPenalty: asked.repetition_penalty }),
      },
    }),
    ...(historyTurns !== undefined && { historyTurns }),
    ...(spokenHistoryTurns !== undefined && { spokenHistoryTurns }),
    ...(historyAudio !== undefined && { historyAudio }),
  }
}
