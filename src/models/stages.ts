/**
 * What a model family provides to the runtime: its stages, each batched over live sequences, on plain typed arrays.
 *
 * The runtime owns scheduling, sampling of text, overlap and cancellation; a stage owns weights, graphs and caches. All
 * arrays are row-major with the last dimension contiguous. Nothing here knows HTTP or a chat template. Speech is in
 * speech.ts.
 */

import type { InputModality } from '../contract/index.ts'
import type { PatchValues } from '../prompt/patch-values.ts'
import type { EncodedAhead } from '../prompt/prepared-prompt.ts'
import type { SpeechPipeline } from './speech.ts'

/** One sequence's KV cache in a stage, in use or kept for a later request. Disposing it frees its memory. */
export interface StageSequence extends Disposable {
  /** Tokens in the cache. */
  readonly length: number
  /** Tokens that memory is reserved for; grows by {@link reserve}. */
  readonly reserved: number
  /** Bytes held. */
  readonly bytes: number
  /**
   * Reserves memory for `tokens` in all; the cache's content stays. Not while a step runs with it. Rejects with
   * `EngineError('overloaded')` with what would fit when the memory budget is exhausted; the sequence is then
   * unchanged.
   */
  reserve(tokens: number): Promise<void>
  /** Peak bytes while it grows to so many tokens. */
  bytesFor(tokens: number): number
  /** Forgets tokens from `length` on; their memory stays. */
  truncate(length: number): void
  /** Forgets all tokens and frees the memory; it can be reserved again. Not while a step runs with it. */
  release(): void
  /**
   * Replaces its content by the first `length` tokens of another sequence of the same stage. Reserves as {@link
   * reserve} does.
   */
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
  /** Multimodal rotary positions, [3, tokens]: temporal, height, width. Videos may give fractions. */
  readonly positions: Float32Array
  readonly features?: InjectedFeatures
  /** Logits of the last token, of every token (tests), or none (a prefill chunk that is not the last). */
  readonly logits: 'last' | 'all' | 'none'
  /** Whether to return the hidden states that the family's speech needs, of every token of this call. */
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
  /** Prompt tokens of a step that it reads fastest; more only take longer. Default 256. */
  readonly chunkTokens?: number
  /** `capacity`: the most tokens this sequence may grow to. It holds no memory until some is reserved. */
  newSequence(capacity: number): StageSequence
  /**
   * One batched step over several sequences, each with one or more new tokens. Advances their caches, growing them as
   * needed: a caller that does not want the whole batch to fail then reserves before.
   */
  forward(inputs: readonly ThinkerInput[], signal?: AbortSignal): Promise<ThinkerOutput[]>
  /** Token embeddings, [tokens, hidden]. */
  embed(tokenIds: Int32Array): Promise<Float32Array>
}

export interface EncodeOptions {
  readonly signal?: AbortSignal
  /** Awaited between pieces of the work (windows of audio, frames of a video), so that other work gets its turn. */
  readonly pause?: () => Promise<void>
}

/** How an encoder works on audio whose end is not there yet: in windows that do not see each other. */
export interface AudioWindows {
  /** Mel frames of a whole window. */
  readonly frames: number
  /** Tokens that a whole window gives. */
  readonly tokens: number
  /**
   * Mel frames of a chunk: a part of a window whose first layers can be computed by themselves. Absent: there are
   * none.
   */
  readonly chunkFrames?: number
  /** The first layers of a chunk, mel [mels, chunkFrames], for {@link window} or `encode` to go on from. */
  chunk?(mel: Float32Array, signal?: AbortSignal): Promise<Float32Array>
  /**
   * A whole window, mel [mels, frames], to [tokens, thinker hidden]. `chunks`: of its chunks, as far as they are
   * known, from the first.
   */
  window(mel: Float32Array, chunks: readonly Float32Array[], signal?: AbortSignal): Promise<Float32Array>
}

export interface AudioEncodeOptions extends EncodeOptions {
  /**
   * Frames of the longest audio in the request; transformers pads a shorter one's last chunk to the longest chunk,
   * which shows in its last token. Default: `frames`.
   */
  readonly longestFrames?: number
  readonly ahead?: EncodedAhead | undefined
}

export interface AudioEncoderStage extends Disposable {
  /** Absent: only whole audio can be encoded. */
  readonly windows?: AudioWindows
  /** Log-mel [mels, frames] of one audio to [tokens, thinker hidden]. */
  encode(mel: Float32Array, frames: number, options?: AudioEncodeOptions): Promise<Float32Array>
  /**
   * What of `longestFrames` shows in the output of so many frames: equal numbers, equal outputs. Absent: nothing does.
   */
  padding?(frames: number, longestFrames: number): number
}

export interface VisionEncoderStage extends Disposable {
  /**
   * Flattened patches [t*h*w, channels*temporal*patch*patch] of one image or video, read piece by piece; grid is [t, h,
   * w] in patches.
   */
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
  /** Absent when it has no speech. */
  readonly speech?: SpeechPipeline
}
