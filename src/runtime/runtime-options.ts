/** What a runtime is made of. */

import type { GenerationRequest, PromptUsage } from '../contract/index.ts'
import type { MemoryBudget } from '../models/memory-budget.ts'
import type { OmniModel } from '../models/stages.ts'
import type { AudioFeatureConfig } from '../prompt/log-mel.ts'
import type { PreparedPrompt } from '../prompt/prepared-prompt.ts'
import type { RuntimeTokenizer } from './reply-reader.ts'
import type { Clock, RequestMetrics } from './request-metrics.ts'

export interface RuntimeOptions {
  readonly model: OmniModel
  readonly tokenizer: RuntimeTokenizer
  /** Template, tokens, positions and features of a request. May take its time; rejects with an `EngineError`. */
  readonly prepare: (request: GenerationRequest, signal: AbortSignal) => Promise<PreparedPrompt>
  /** Token counts only; `prepare` is used when absent. */
  readonly count?: (request: GenerationRequest, signal: AbortSignal) => Promise<PromptUsage>
  /** Ids that end a reply. */
  readonly endTokenIds: readonly number[]
  /** Whether the checkpoint can be asked to reason. */
  readonly thinking?: boolean
  /** Whether the checkpoint's template takes tools. */
  readonly tools?: boolean
  /** Read `<think>` as plain text (parity tests with random weights). */
  readonly plainThink?: boolean
  /** How audio is turned into features: needed to encode audio while it arrives. */
  readonly audioFeatures?: AudioFeatureConfig
  /** At most the thinker's. */
  readonly contextLength?: number
  /** Native speaker for a voice name (lower case), or undefined when there is none to stand in. */
  readonly speakerFor?: (voice: string) => string | undefined
  /** Requests worked on at once. */
  readonly maxConcurrent?: number
  /** Requests waiting for a place; one more is `overloaded`. */
  readonly maxWaiting?: number
  /** Prompt tokens read in one step when nobody waits. */
  readonly prefillTokens?: number
  /** Events (or tenths of a second of sound) a slow reader may leave unread before his request pauses. */
  readonly bufferedEvents?: number
  /**
   * The budget that the model's stages ask. Whatever is kept of finished requests gives way before one of them is
   * refused.
   */
  readonly budget?: MemoryBudget
  /** Most finished sequences kept for requests that go on from them. Default 64; 0 reuses nothing. */
  readonly maxCachedPrefixes?: number
  /** Most bytes of encoder outputs kept. Default 256 MiB. */
  readonly maxCachedMediaBytes?: number
  readonly onMetrics?: (metrics: RequestMetrics) => void
  /** Sees what is generated, id by id: parity tests compare more than text and sound. */
  readonly watch?: ReplyWatcher
  readonly clock?: Clock
}

export interface ReplyWatcher {
  /** A thinker token, the end token included. */
  token(requestId: string, id: number): void
  /** One frame of speech, [groups]. */
  frame(requestId: string, codes: Int32Array): void
}
