/** The settings of `chat`, and the request body for them. */
import { createCatalogue } from '../catalogue/index.ts'
import type { ChatCompletionRequest, Message } from '../protocol/index.ts'
import type { findPlayer } from './speech-output.ts'

export interface ChatSettings {
  /** Name of the API model. */
  readonly model: string
  readonly system: string | undefined
  /** Undefined for text only. */
  readonly voice: string | undefined
  readonly thinking: boolean
  readonly sampling: Partial<
    Pick<ChatCompletionRequest, 'temperature' | 'top_p' | 'top_k' | 'max_tokens' | 'seed' | 'thinking_budget'>
  >
  readonly player: ReturnType<typeof findPlayer>
}

/** A model's default voice. */
export function defaultVoice(model: string): string {
  return createCatalogue('intl').find(model)?.defaultVoice ?? 'Cherry'
}

/** The request body for `messages`. */
export function requestBody(settings: ChatSettings, messages: readonly Message[]): ChatCompletionRequest {
  const { voice, system } = settings
  return {
    model: settings.model,
    messages: [...(system === undefined ? [] : [{ role: 'system' as const, content: system }]), ...messages],
    modalities: voice === undefined ? ['text'] : ['text', 'audio'],
    ...(voice !== undefined && { audio: { voice, format: 'wav' } }),
    ...(settings.thinking && { enable_thinking: true }),
    ...settings.sampling,
  }
}
