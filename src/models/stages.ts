/**
 * The stages that a model family provides to the runtime, each batched over live sequences, on plain typed arrays.
 *
 * The runtime owns scheduling, sampling of text, overlap and cancellation; a stage owns weights, graphs and caches. All
 * arrays are row-major with the last dimension contiguous. Stages do not depend on HTTP or chat templates. Speech is in
 * speech.ts.
 */

import type { InputModality } from '../contract/index.ts'
import type { PatchValues } from '../prompt/patch-values.ts'
import type { EncodedAhead } from '../prompt/prepared-prompt.ts'
import type { SpeechPipeline } from './speech.ts'

/** One sequence's KV cache in a stage, in use or in the prefix cache. Dispose it to free its memory. */
export interface StageSequence extends Disposable {
  /** Tokens in the cache. */
  readonly length: number
  /** Tokens for which memory is reserved, see {@link reserve}. */
  readonly reserved: number
  /** Bytes of reserved memory. */
  readonly bytes: number
  /**
   * Reserves memory for `tokens` tokens in total; the content stays. Do not call while a step runs with the sequence.
   * Rejects with `EngineError('overloaded')`, which names the tokens that fit, when the memory budget is exhausted; the
   * sequence is then unchanged.
   */
  reserve(tokens: number): Promise<void>
  /** Peak bytes while it grows to `tokens` tokens. */
  bytesFor(tokens: number): number
  /** Removes tokens from `length` on; their memory stays reserved. */
  truncate(length: number): void
  /** Removes all tokens and frees the memory. It can be reserved again. Do not call while a step runs with it. */
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
  /** Multimodal rotary positions, [3, tokens]: temporal, height, width. Those of videos may be fractions. */
  readonly positions: Float32Array
  readonly features?: InjectedFeatures
  /** Logits of the last token, of every token (tests), or none (a prefill chunk that is not the last). */
  readonly logits: 'last' | 'all' | 'none'
  /** [vocab]: gets the logits of the last token, instead of a new array. */
  readonly logitsInto?: Float32Array | undefined
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
  /** Most prompt tokens per step that still increase throughput. Default 256. */
  readonly chunkTokens?: number
  /** `capacity`: most tokens of the sequence. Memory is allocated by `reserve`. */
  newSequence(capacity: number): StageSequence
  /**
   * One batched step over several sequences, each with one or more new tokens. Their caches grow as needed; without
   * memory the whole batch fails, so callers reserve before.
   */
  forward(inputs: readonly ThinkerInput[], signal?: AbortSignal): Promise<ThinkerOutput[]>
  /** Token embeddings, [tokens, hidden]. */
  embed(tokenIds: Int32Array): Promise<Float32Array>
}

export interface EncodeOptions {
  readonly signal?: AbortSignal
  /** Awaited between pieces of the work (windows of audio, frames of a video), so that other work can run. */
  readonly pause?: () => Promise<void>
}

/** Incremental encoding of audio that is still arriving, in windows that do not depend on each other. */
export interface AudioWindows {
  /** Mel frames of a whole window. */
  readonly frames: number
  /** Tokens of a whole window. */
  readonly tokens: number
  /** Mel frames of a chunk: a part of a window whose first layers can be computed separately. Absent: not supported. */
  readonly chunkFrames?: number
  /** Computes the first layers of a chunk, mel [mels, chunkFrames], for {@link window} or `encode`. */
  chunk?(mel: Float32Array, signal?: AbortSignal): Promise<Float32Array>
  /**
   * Encodes a whole window, mel [mels, frames], to [tokens, thinker hidden]. `chunks`: outputs of its first chunks, as
   * far as they have been computed.
   */
  window(mel: Float32Array, chunks: readonly Float32Array[], signal?: AbortSignal): Promise<Float32Array>
}

export interface AudioEncodeOptions extends EncodeOptions {
  /**
   * Mel frames of the longest audio in the request. Transformers pads the last chunk of a shorter audio to the longest
   * chunk, which changes its last token. Default: `frames`.
   */
  readonly longestFrames?: number
  readonly ahead?: EncodedAhead | undefined
}

export interface AudioEncoderStage extends Disposable {
  /** Absent: only whole audio can be encoded. */
  readonly windows?: AudioWindows
  /** Encodes one audio: log-mel [mels, frames] to [tokens, thinker hidden]. */
  encode(mel: Float32Array, frames: number, options?: AudioEncodeOptions): Promise<Float32Array>
  /**
   * A number that identifies the effect of `longestFrames` on the output: equal numbers, equal outputs. Absent: no
   * effect.
   */
  padding?(frames: number, longestFrames: number): number
}

export interface VisionEncoderStage extends Disposable {
  /**
   * Encodes one image or video. `patches`: [t*h*w, channels*temporal*patch*patch], read in pieces. `grid`: [t, h, w] in
   * patches.
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
  /** Supported input modalities. */
  readonly reads: readonly InputModality[]
  readonly thinker: ThinkerStage
  readonly audioEncoder?: AudioEncoderStage
  readonly visionEncoder?: VisionEncoderStage
  /** Absent when it has no speech. */
  readonly speech?: SpeechPipeline
}
