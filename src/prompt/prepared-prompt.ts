/**
 * A request's messages as input of the model: token ids, positions and features.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor.__call__` and `get_rope_index`.
 */

import type { PromptUsage } from '../contract/index.ts'
import type { PatchValues } from './patch-values.ts'

/** One medium of a prompt: the rows of its encoder output, and the encoder's input. */
interface Placement<Input> {
  /** Token rows (absolute, ascending) whose embeddings the encoder output replaces. */
  readonly rows: Int32Array
  /** Identifies the result of {@link load}: equal keys mean equal values. Undefined: different from all others. */
  readonly key?: string | undefined
  /** Computes the encoder's input; not called for a reused prefix. Throws the signal's reason. */
  load(signal?: AbortSignal): Promise<Input>
  /** Frees decoded data, if the feature will not be loaded. */
  release?(): void
}

/**
 * Encoder outputs of parts of an audio that were computed while it arrived. `from`: first frame of the part. Undefined:
 * not computed. Outputs are valid for the loaded values.
 */
export interface EncodedAhead {
  /** Output of a whole window, [tokens, thinker hidden]. */
  window(from: number): Float32Array | undefined
  /** Output of the first layers of a chunk, if the encoder supports chunks. */
  chunk(from: number): Float32Array | undefined
}

/** The source of an audio's spectrogram, and the number of samples over which it is computed. */
export interface AudioSource {
  readonly contentKey: string
  readonly samples: number
  readonly padded: number
}

/** An audio feature. It loads a Whisper log-mel spectrogram, [mels, frames]. */
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
  /** Multimodal rotary positions, [3, tokens]: temporal, height, width. Those of videos may be fractions. */
  readonly positions: Float32Array
  /** Position of the first generated token, on all axes. Positions of later tokens increase from it. */
  readonly nextPosition: number
  readonly features: readonly PromptFeature[]
  /** The template has opened a `<think>` block: the reply starts with reasoning. */
  readonly insideReasoning: boolean
  readonly usage: PromptUsage
}
