/**
 * A request's messages turned into what the model reads: token ids, positions and feature arrays.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor.__call__` and `get_rope_index`.
 */

import type { PromptUsage } from '../contract/index.ts'

/** Where one medium's encoder output goes. */
interface Placement {
  /** Token rows (absolute, ascending) whose embeddings it replaces. */
  readonly rows: Int32Array
}

export type PromptFeature =
  /** Log-mel [mels, frames], Whisper's. */
  | ({ readonly type: 'audio'; readonly mel: Float32Array; readonly frames: number } & Placement)
  /** Flattened patches [t*h*w, channels*temporal*patch*patch] of one image or clip. */
  | ({
      readonly type: 'vision'
      readonly patches: Float32Array
      readonly grid: readonly [number, number, number]
    } & Placement)

export interface PreparedPrompt {
  readonly tokenIds: Int32Array
  /** Multimodal rotary positions, [3, tokens]: temporal, height, width. Clips may give fractions. */
  readonly positions: Float32Array
  /** Position of the first generated token (all three axes); the next ones count on from it. */
  readonly nextPosition: number
  readonly features: readonly PromptFeature[]
  /** The template has opened a `<think>` block: the reply begins as reasoning. */
  readonly insideReasoning: boolean
  readonly usage: PromptUsage
}
