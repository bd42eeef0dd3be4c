/**
 * The `usage` object: total counts, and details, which omit modalities without tokens.
 *
 * Reference: the result samples of the Qwen-Omni guide (December 2025).
 */
import { z } from 'zod'

const tokens = z.int().positive().optional()

export const promptTokensDetailsSchema = z
  .object({
    text_tokens: tokens,
    audio_tokens: tokens.describe('Audio parts, and the audio track of a video.'),
    image_tokens: tokens,
    video_tokens: tokens,
  })
  .meta({ id: 'PromptTokensDetails' })

export const completionTokensDetailsSchema = z
  .object({ audio_tokens: tokens, reasoning_tokens: tokens, text_tokens: tokens })
  .meta({ id: 'CompletionTokensDetails' })

export const usageSchema = z
  .object({
    prompt_tokens: z.int().nonnegative(),
    completion_tokens: z.int().nonnegative(),
    total_tokens: z.int().nonnegative(),
    completion_tokens_details: completionTokensDetailsSchema.optional(),
    prompt_tokens_details: promptTokensDetailsSchema.optional(),
  })
  .meta({ id: 'Usage', description: 'Modalities without tokens are absent. Text does not include reasoning.' })

export type PromptTokensDetails = z.infer<typeof promptTokensDetailsSchema>
export type CompletionTokensDetails = z.infer<typeof completionTokensDetailsSchema>
export type Usage = z.infer<typeof usageSchema>
