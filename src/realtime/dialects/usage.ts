/**
 * A reply's usage in the realtime form. DashScope's field is `input_tokens_details`, OpenAI's is `input_token_details`.
 * Modalities without tokens are omitted.
 */
import type { Usage } from '../../protocol/index.ts'

export function realtimeUsage(usage: Usage, word: 'token' | 'tokens'): Record<string, unknown> {
  const input = usage.prompt_tokens_details ?? {}
  const output = usage.completion_tokens_details ?? {}
  const image = (input.image_tokens ?? 0) + (input.video_tokens ?? 0)
  return {
    total_tokens: usage.total_tokens,
    input_tokens: usage.prompt_tokens,
    output_tokens: usage.completion_tokens,
    [`input_${word}_details`]: {
      ...(input.text_tokens !== undefined && { text_tokens: input.text_tokens }),
      ...(input.audio_tokens !== undefined && { audio_tokens: input.audio_tokens }),
      ...(image > 0 && { image_tokens: image }),
    },
    [`output_${word}_details`]: {
      ...(output.text_tokens !== undefined && { text_tokens: output.text_tokens }),
      ...(output.audio_tokens !== undefined && { audio_tokens: output.audio_tokens }),
    },
  }
}
