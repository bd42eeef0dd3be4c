/** What an engine is asked: messages, sampling, limits. */

import type { MonoPcm, RgbImage, VideoFrames } from './media.ts'

export type GenerationPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image'; readonly image: RgbImage }
  | { readonly type: 'audio'; readonly audio: MonoPcm }
  | { readonly type: 'video'; readonly video: VideoFrames }

export interface GenerationMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: readonly GenerationPart[]
}

/** Sampling of the thinker. Ranges are checked by the front door; see the catalogue for each API model's defaults. */
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

export interface GenerationRequest {
  /** Unique among live requests; used in logs. */
  readonly id: string
  /** One of {@link Engine.models}' ids. */
  readonly model: string
  readonly messages: readonly GenerationMessage[]
  /** Present when speech is wanted. `voice` is an API voice name such as `Cherry`; the engine maps it to a speaker. */
  readonly speech?: { readonly voice: string }
  /** Present when the reply is to be reasoned first; `budget` is the most reasoning tokens. */
  readonly thinking?: { readonly budget?: number }
  readonly sampling: SamplingOptions
  /** Most answer tokens, reasoning excluded. */
  readonly maxTokens: number
  /** Texts that end the reply; never emitted, not even in part. */
  readonly stop: readonly string[]
  /** Token ids that end the reply. */
  readonly stopTokenIds?: readonly number[]
}
