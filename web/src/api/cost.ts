/**
 * A reply's cost at the hosted service's list prices. This server does not bill.
 *
 * Rules: input by modality; text of a spoken reply is free, its audio is billed; text of a written reply costs more
 * when the input had media; reasoning counts as text. Reference: Model Studio's price page (2026), as the server's
 * `/models` gives it.
 */
import type { Cost, ModelListing, Usage } from './types.ts'

export function costOf(usage: Usage, prices: ModelListing['prices']): Cost | undefined {
  if (prices === undefined) return undefined
  const prompt = usage.prompt_tokens_details ?? { text_tokens: usage.prompt_tokens }
  const completion = usage.completion_tokens_details ?? { text_tokens: usage.completion_tokens }
  const audioIn = prompt.audio_tokens ?? 0
  const visualIn = (prompt.image_tokens ?? 0) + (prompt.video_tokens ?? 0)
  const input =
    (prompt.text_tokens ?? 0) * prices.input_text + audioIn * prices.input_audio + visualIn * prices.input_image_video
  const textPrice = audioIn + visualIn > 0 ? prices.output_text_multimodal : prices.output_text
  const textOut = (completion.text_tokens ?? 0) + (completion.reasoning_tokens ?? 0)
  const audioOut = completion.audio_tokens ?? 0
  const output = audioOut > 0 ? audioOut * prices.output_audio : textOut * textPrice
  const unit = prices.per_tokens
  return { currency: prices.currency, input: input / unit, output: output / unit, total: (input + output) / unit }
}
