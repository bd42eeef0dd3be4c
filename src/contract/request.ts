/** What an engine is asked: messages, tools, sampling, limits. */

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
  /** JSON text, as the model wrote it. */
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

/** A function the model may call. */
export interface ToolDefinition {
  readonly name: string
  readonly description?: string
  /** JSON schema of the arguments. */
  readonly parameters?: Readonly<Record<string, unknown>>
}

/** Which tools may be called: any or none of them, at least one, or the one named. */
export type ToolChoice = 'auto' | 'none' | 'required' | { readonly name: string }

/** Sampling of the thinker. Ranges are checked by the API server; see the catalogue for each API model's defaults. */
export interface SamplingOptions {
  /** 0 means greedy. */
  readonly temperature: number
  /** (0, 1]. */
  readonly topP: number
  /** Undefined (or over 100 on the wire) switches top-k off. */
  readonly topK?: number
  readonly presencePenalty: number
  readonly repetitionPenalty: number
  /** Same seed and same request give the same reply on one machine, at any concurrency. */
  readonly seed: number
}

/** Recommended sampling of a checkpoint; the caller's explicit values and the seed take precedence. */
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
  /** Present when speech is wanted. `voice` is an API voice name such as `Cherry`; the engine maps it to a speaker. */
  readonly speech?: { readonly voice: string }
  /**
   * The reply is this text and nothing else, for speech word for word. Only for engines with the capability `scripted`.
   */
  readonly script?: string
  /** Present when reasoning comes before the reply; `budget` is the most reasoning tokens. */
  readonly thinking?: { readonly budget?: number }
  readonly sampling: SamplingOptions
  /** Most answer tokens, reasoning excluded. */
  readonly maxTokens: number
  /** Most tokens of reasoning and answer together. Default: no such limit. */
  readonly maxTotalTokens?: number
  /** Texts that end the reply; never emitted, not even in part. */
  readonly stop: readonly string[]
  /** Token ids that end the reply. */
  readonly stopTokenIds?: readonly number[]
  /**
   * Whose content this is. What an engine keeps of a request (prefixes, encoded media) serves only requests of an equal
   * scope. Absent: nothing is kept or reused.
   */
  readonly cacheScope?: string
  /** Text the API server has put at the start of the system message. Engines whose peers add their own take it off. */
  readonly speechPrompt?: string
  /** W3C `traceparent`, passed on by engines that forward requests. */
  readonly traceparent?: string
}
