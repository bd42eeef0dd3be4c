/**
 * A request's messages as the model's input: token ids, positions and feature arrays.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor.__call__` and `get_rope_index`.
 */

import type { PromptUsage } from '../contract/index.ts'
import type { PatchValues } from './patch-values.ts'

/** One medium of a prompt: where its encoder's output goes, and the encoder's input. */
interface Placement<Input> {
  /** Token rows (absolute, ascending) whose embeddings it replaces. */
  readonly rows: Int32Array
  /** Identifies what {@link load} gives: equal keys, equal values. Undefined: equal to nothing. */
  readonly key?: string | undefined
  /** Computes the encoder's input; not called for a reused prefix. Throws the signal's reason. */
  load(signal?: AbortSignal): Promise<Input>
  /** It will not be loaded: frees what was decoded for it. */
  release?(): void
}

/**
 * What the encoder made of parts of an audio before the rest of it came. `from`: the frame they begin at. Undefined:
 * not known. Only what was made of the same values that are loaded is given.
 */
export interface EncodedAhead {
  /** Of a whole window, [tokens, thinker hidden]. */
  window(from: number): Float32Array | undefined
  /** Of the first layers of a chunk, where the encoder has them. */
  chunk(from: number): Float32Array | undefined
}

/** What an audio's spectrogram is computed of, and over how many samples. */
export interface AudioSource {
  readonly contentKey: string
  readonly samples: number
  readonly padded: number
}

/** Loads a log-mel [mels, frames], Whisper's. */
export interface AudioFeature extends Placement<Float32Array> {
  readonly type: 'audio'
  readonly frames: number
  readonly source?: AudioSource
  readonly ahead?: EncodedAhead
}

export type PromptFeature =
  | AudioFeature
  /** Loads flattened patches [t*h*w, channels*temporal*patch*patch] of one image or video; the grid is [t, h, w]. */
  | ({ readonly type: 'vision'; readonly grid: readonly [number, number, number] } & Placement<PatchValues>)

export interface PreparedPrompt {
  readonly tokenIds: Int32Array
  /** Multimodal rotary positions, [3, tokens]: temporal, height, width. Videos may give fractions. */
  readonly positions: Float32Array
  /** Position of the first generated token (all three axes); the next ones count on from it. */
  readonly nextPosition: number
  readonly features: readonly PromptFeature[]
  /** The template has opened a `<think>` block: the reply begins with reasoning. */
  readonly insideReasoning: boolean
  readonly usage: PromptUsage
}
