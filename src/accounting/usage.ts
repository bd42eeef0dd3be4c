/** The wire's `usage` object and its list price, from counts by modality. Pure. */
import type { Prices } from '../catalogue/index.ts'
import type { Cost, Usage } from '../protocol/index.ts'
import type { PromptTokens } from './prompt-tokens.ts'

export interface CompletionTokens {
  readonly text: number
  readonly reasoning: number
  readonly audio: number
}

export const NO_COMPLETION: CompletionTokens = { text: 0, reasoning: 0, audio: 0 }

/** Keys in the guide's order. Modalities without tokens are omitted. */
export function buildUsage(prompt: PromptTokens, completion: CompletionTokens): Usage {
  const completionTotal = completion.text + completion.reasoning + completion.audio
  const promptTotal = prompt.text + prompt.image + prompt.audio + prompt.video
  return {
    prompt_tokens: promptTotal,
    completion_tokens: completionTotal,
    total_tokens: promptTotal + completionTotal,
    ...(completionTotal === 0
      ? {}
      : {
          completion_tokens_details: {
            ...(completion.audio > 0 && { audio_tokens: completion.audio }),
            ...(completion.reasoning > 0 && { reasoning_tokens: completion.reasoning }),
            ...(completion.text > 0 && { text_tokens: completion.text }),
          },
        }),
    prompt_tokens_details: {
      ...(prompt.text > 0 && { text_tokens: prompt.text }),
      ...(prompt.audio > 0 && { audio_tokens: prompt.audio }),
      ...(prompt.image > 0 && { image_tokens: prompt.image }),
      ...(prompt.video > 0 && { video_tokens: prompt.video }),
    },
  }
}

/**
 * List price of a request. A spoken reply is billed by its audio only; a written one costs more when media went in.
 * Reasoning is billed as text.
 */
export function costOf(usage: Usage, prices: Prices): Cost {
  const prompt = usage.prompt_tokens_details ?? {}
  const completion = usage.completion_tokens_details ?? {}
  const vision = (prompt.image_tokens ?? 0) + (prompt.video_tokens ?? 0)
  const audio = prompt.audio_tokens ?? 0
  const input =
    (prompt.text_tokens ?? 0) * prices.inputText + audio * prices.inputAudio + vision * prices.inputImageVideo
  const written = (completion.text_tokens ?? 0) + (completion.reasoning_tokens ?? 0)
  const spoken = completion.audio_tokens ?? 0
  const output =
    spoken > 0
      ? spoken * prices.outputAudio
      : written * (vision + audio > 0 ? prices.outputTextMultimodal : prices.outputText)
  return {
    currency: prices.currency,
    input: toMoney(input),
    output: toMoney(output),
    total: toMoney(input + output),
  }
}

/** Prices are per million tokens; sums are kept to a ten-thousandth of a millionth. */
function toMoney(amount: number): number {
  return Math.round(amount * 1e4) / 1e10
}
