/** Options of a runtime: the model, its tokenizer, its limits. */

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
  /** Tokens, positions and features of a request. It runs outside the loop and rejects with an `EngineError`. */
  readonly prepare: (request: GenerationRequest, signal: AbortSignal) => Promise<PreparedPrompt>
  /** Counts prompt tokens without their features. Default: `prepare`. */
  readonly count?: (request: GenerationRequest, signal: AbortSignal) => Promise<PromptUsage>
  /** Ids that end a reply. */
  readonly endTokenIds: readonly number[]
  /** Whether the checkpoint supports `thinking` requests. */
  readonly thinking?: boolean
  /** Whether the checkpoint's template supports tools. */
  readonly tools?: boolean
  /** Read `<think>` as plain text (parity tests with random weights). */
  readonly plainThink?: boolean
  /** Configuration of audio features. Required to encode audio while it arrives. */
  readonly audioFeatures?: AudioFeatureConfig
  /** Tokens of prompt and reply, limited by the thinker's. Default: the thinker's. */
  readonly contextLength?: number
  /** The checkpoint's speaker for a voice name (lower case), or undefined when none can stand in for it. */
  readonly speakerFor?: (voice: string) => string | undefined
  /** Slots: requests that run at the same time. Default 4. */
  readonly maxConcurrent?: number
  /** Requests that may wait for a slot. Further ones are refused with `overloaded`. Default 64. */
  readonly maxWaiting?: number
  /** Prompt tokens of one step while no other request waits. */
  readonly prefillTokens?: number
  /** Events (or tenths of a second of audio) buffered for a slow reader before its request pauses. Default 128. */
  readonly bufferedEvents?: number
  /** The memory budget of the model's stages. Caches of finished requests are reclaimable in it. */
  readonly budget?: MemoryBudget
  /** Most sequences in the prefix cache. Default 64; 0 disables it. */
  readonly maxCachedPrefixes?: number
  /** Most bytes of cached encoder outputs. Default 256 MiB. */
  readonly maxCachedMediaBytes?: number
  readonly onMetrics?: (metrics: RequestMetrics) => void
  /** Receives each generated id, for parity tests that compare more than text and audio. */
  readonly watch?: ReplyWatcher
  readonly clock?: Clock
}

export interface ReplyWatcher {
  /** A generated thinker token, including the end token. */
  token(requestId: string, id: number): void
  /** One frame of speech, [groups]. */
  frame(requestId: string, codes: Int32Array): void
}
