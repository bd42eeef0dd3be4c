/** A request to an engine: messages, tools, sampling, limits. */

import type { AudioMedium, ImageMedium, VideoMedium } from './media.ts'

export interface TextPart {
  readonly type: 'text'
  readonly text: string
}

export type GenerationPart =
  | TextPart
  | { readonly type: 'image'; readonly image: ImageMedium }
  | { readonly type: 'audio'; readonly audio: AudioMedium }
  | { readonly type: 'video'; readonly video: VideoMedium }

/** A call that the model made in an earlier turn. */
export interface ToolCall {
  readonly id: string
  readonly name: string
  /** JSON text, as the model generated it. */
  readonly arguments: string
}

export type GenerationMessage =
  | { readonly role: 'system' | 'user'; readonly content: readonly GenerationPart[] }
  | {
      readonly role: 'assistant'
      readonly content: readonly GenerationPart[]
      readonly toolCalls?: readonly ToolCall[]
    }
  /** The result of the tool that `toolCallId` called. */
  | { readonly role: 'tool'; readonly toolCallId: string; readonly content: readonly TextPart[] }

/** A function that the model may call. */
export interface ToolDefinition {
  readonly name: string
  readonly description?: string
  /** JSON schema of the arguments. */
  readonly parameters?: Readonly<Record<string, unknown>>
}

/** Which tools may be called: any, none, at least one, or the named one. */
export type ToolChoice = 'auto' | 'none' | 'required' | { readonly name: string }

/** Sampling of the thinker. The API server has validated the ranges. Defaults of API models are in the catalogue. */
export interface SamplingOptions {
  /** 0 means greedy. */
  readonly temperature: number
  /** (0, 1]. */
  readonly topP: number
  /** Undefined (in the API also over 100): top-k is disabled. */
  readonly topK?: number
  readonly presencePenalty: number
  readonly repetitionPenalty: number
  /** On one machine, equal seeds and requests give equal replies, at any concurrency. */
  readonly seed: number
}

/** Default sampling of a checkpoint. Values in the request take precedence. */
export type PreferredSampling = Partial<Omit<SamplingOptions, 'seed'>>

export interface GenerationRequest {
  /** Unique among live requests; used in logs. */
  readonly id: string
  /** One of {@link Engine.models}' ids. */
  readonly model: string
  readonly messages: readonly GenerationMessage[]
  /** Present when the model may call tools. */
  readonly tools?: readonly ToolDefinition[]
  /** Default `auto`. */
  readonly toolChoice?: ToolChoice
  /** False allows at most one call in a reply. Default true. */
  readonly parallelToolCalls?: boolean
  /** Present for a spoken reply. `voice`: an API voice name such as `Cherry`, which the engine maps to a speaker. */
  readonly speech?: { readonly voice: string }
  /**
   * The exact text of the reply, for text to speech. Only for engines with the capability `scripted`.
   */
  readonly script?: string
  /** Present for a reply with reasoning. `budget`: most reasoning tokens. */
  readonly thinking?: { readonly budget?: number }
  readonly sampling: SamplingOptions
  /** Most answer tokens, without reasoning. */
  readonly maxTokens: number
  /** Most tokens of reasoning and answer. Default: no such limit. */
  readonly maxTotalTokens?: number
  /** Stop strings: they end the reply and are never sent, not even in part. */
  readonly stop: readonly string[]
  /** Token ids that end the reply. */
  readonly stopTokenIds?: readonly number[]
  /**
   * Owner of the request's content. Cached results (prefixes, encoded media) are reused only within a scope. Absent:
   * nothing is cached or reused.
   */
  readonly cacheScope?: string
  /** Text that the API server has put at the start of the system message. Removed for peers that add their own. */
  readonly speechPrompt?: string
  /** W3C `traceparent`, forwarded by remote engines. */
  readonly traceparent?: string
}
