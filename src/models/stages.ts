/**
 * What a model family offers the runtime: its stages, each batched over live sequences, speaking plain typed arrays.
 *
 * The runtime owns order, sampling of text, overlap and cancellation; a stage owns weights, graphs and caches. All arrays are
 * row-major with the last dimension contiguous. Nothing here knows HTTP or a chat template. Speech is in speech.ts.
 */

import type { InputModality } from '../contract/index.ts'
import type { PatchValues } from '../prompt/patch-values.ts'
import type { SpeechPipeline } from './speech.ts'

/** One sequence's KV cache in a stage, in use or kept for a request to go on from. Disposing it returns its memory. */
export interface StageSequence extends Disposable {
  /** Tokens in the cache. */
  readonly length: number
  /** Tokens there is memory for; grows by {@link reserve}. */
  readonly room: number
  /** Bytes held. */
  readonly bytes: number
  /**
   * Makes room for `tokens` in all; what is in the cache stays. Not while a step runs with it. Rejects with `EngineError('overloaded')`
   * that says what would fit when the memory budget has no room; the sequence is as it was then.
   */
  reserve(tokens: number): Promise<void>
  /** Bytes it may hold, for a moment while it grows, with room for so many tokens. */
  bytesFor(tokens: number): number
  /** Forgets tokens from `length` on; their memory stays. */
  truncate(length: number): void
  /** Takes over the first `length` tokens of another sequence of the same stage, in place of its own. Reserves as {@link reserve} does. */
  copyFrom(source: StageSequence, length: number): Promise<void>
}

/** Encoder outputs that replace the embeddings of placeholder tokens. */
export interface InjectedFeatures {
  /** Row numbers, within this call's tokens, that the features replace; ascending. */
  readonly rows: Int32Array
  /** [rows.length, hidden] */
  readonly embeddings: Float32Array
  /**
   * One [rows.length, hidden] per early layer, added to that layer's output (deepstack, vision only). Rows without
   * deepstack features (audio) hold zeros.
   */
  readonly deepstack?: readonly Float32Array[]
}

export interface ThinkerInput {
  readonly sequence: StageSequence
  readonly tokenIds: Int32Array
  /** Multimodal rotary positions, [3, tokens]: temporal, height, width. Clips may give fractions. */
  readonly positions: Float32Array
  readonly features?: InjectedFeatures
  /** Logits of the last token, of every token (tests), or none (a prefill chunk that is not the last). */
  readonly logits: 'last' | 'all' | 'none'
  /** Whether to return the hidden states that the family's speech reads, of every token of this call. */
  readonly hidden: boolean
}

export interface ThinkerOutput {
  /** [vocab] or [tokens, vocab]. */
  readonly logits?: Float32Array
  /** [tokens, hidden] */
  readonly hidden?: Float32Array
}

export interface ThinkerStage extends Disposable {
  readonly vocabSize: number
  readonly hiddenSize: number
  readonly contextLength: number
  /** `capacity`: the most tokens this sequence may grow to. It holds no memory until some is reserved. */
  newSequence(capacity: number): StageSequence
  /**
   * One batched step over several sequences, each with one or more new tokens. Advances their caches, growing those without room:
   * who does not want the whole batch to fail then reserves before.
   */
  forward(inputs: readonly ThinkerInput[], signal?: AbortSignal): Promise<ThinkerOutput[]>
  /** Token embeddings, [tokens, hidden]. */
  embed(tokenIds: Int32Array): Promise<Float32Array>
}

export interface EncodeOptions {
  readonly signal?: AbortSignal
  /** Awaited between pieces of the work (windows of sound, frames of a clip), so that others get their turn. */
  readonly pause?: () => Promise<void>
}

export interface AudioEncoderStage extends Disposable {
  /**
   * Log-mel [mels, frames] of one audio to [tokens, thinker hidden]. `longestFrames`: frames of the longest audio in the request;
   * transformers pads a shorter one's last chunk to the longest chunk, which shows in its last token. Default: `frames`.
   */
  encode(
    mel: Float32Array,
    frames: number,
    options?: EncodeOptions & { readonly longestFrames?: number },
  ): Promise<Float32Array>
  /** What of `longestFrames` shows in the output of so many frames: equal numbers, equal outputs. Absent: nothing does. */
  padding?(frames: number, longestFrames: number): number
}

export interface VisionEncoderStage extends Disposable {
  /** Flattened patches [t*h*w, channels*temporal*patch*patch] of one image or clip, read piece by piece; grid is [t, h, w] in patches. */
  encode(
    patches: PatchValues,
    grid: readonly [number, number, number],
    options?: EncodeOptions,
  ): Promise<{ embeddings: Float32Array; deepstack: Float32Array[] }>
}

/** A loaded checkpoint. */
export interface OmniModel extends Disposable {
  readonly architecture: string
  /** Kinds of parts that prompts may have. */
  readonly reads: readonly InputModality[]
  readonly thinker: ThinkerStage
  readonly audioEncoder?: AudioEncoderStage
  readonly visionEncoder?: VisionEncoderStage
  /** Absent when it does not speak. */
  readonly speech?: SpeechPipeline
}
