/**
 * The speech interface of a model family: replies, which turn text into frames of codes, and a vocoder.
 *
 * The runtime owns scheduling: which replies are in a step, how far the vocoder may lag behind, and when audio is sent.
 * The family owns its networks, their input from the thinker, and the sampling of codes. All arrays are row-major with
 * the last dimension contiguous.
 */

import type { PreparedPrompt } from '../prompt/prepared-prompt.ts'
import type { TokenRun } from './token-run.ts'

/**
 * A selection of rows of the thinker's sequence (the prompt, followed by the generated tokens).
 * - `prompt-media`: placeholders of images, audio and video;
 * - `all`: every row.
 */
export type ThinkerRows = 'none' | 'prompt-media' | 'all'

/** Properties of a checkpoint's speech that are known without its weights. */
export interface SpeechFacts {
  /** Lower-case names, in the checkpoint's order. */
  readonly speakers: readonly string[]
  /** Hertz. */
  readonly sampleRate: number
  /** Codec frames per second of audio: 12.5 or 50. */
  readonly frameRate: number
}

/** A token of the answer that is to be spoken. */
export interface SpokenToken {
  readonly id: number
  /** Its row in the thinker's sequence. Absent for text that is tokenized again for speech, without a hidden state. */
  readonly row?: number
}

export interface SpeechStart {
  readonly prompt: PreparedPrompt
  /** One of {@link SpeechFacts.speakers}, for the reply and the vocoder. */
  readonly speaker: string
  /** Seed of all random numbers of the reply: codes, and the vocoder's noise if it needs any. */
  readonly seed: number
  /**
   * The prompt's scope and its tokens, with which the family may cache its computation for later replies of the same
   * scope. Absent: nothing is cached or reused.
   */
  readonly cacheKey?: { readonly scope: string; readonly run: TokenRun }
}

/**
 * One reply's speech. Dispose it between steps only; its caches are then released.
 *
 * Its input embeddings are computed from token ids (`ThinkerStage.embed`): those of the prompt, and those of the
 * answer, which `addText` adds.
 */
export interface SpeechReply extends Disposable {
  /**
   * Reserves the memory that the prompt needs, before the first step. Rejects with `EngineError('overloaded')` when
   * memory is short.
   */
  reserve(): Promise<void>
  /** Bytes of its caches. */
  readonly cacheBytes: number
  /**
   * Preempts the reply: releases its caches, which later steps recompute without a change of the result. Returns
   * whether that was possible. Call between steps only.
   */
  preempt(): boolean
  /** Whether it needs the hidden state of any row in [from, until). */
  needsHidden(from: number, until: number): boolean
  /**
   * Adds hidden states of rows [from, from + tokens): [tokens, thinker hidden]. Called in order of rows, at most once
   * per row: first for the prompt (from the cache for a reused prefix), then for each generated token, one step after
   * it was sampled. Not called after `endText`.
   */
  takeHidden(from: number, hidden: Float32Array): void
  /** Adds text to speak, in order. */
  addText(tokens: readonly SpokenToken[]): void
  /** Ends the text. Not called for a reply without text, which has no speech. */
  endText(): void
  /** Whether a step has work for it. `frame`: whether a frame may be made. */
  canAdvance(frame: boolean): boolean
  /** Audio tokens for usage, of the frames made so far. */
  readonly audioTokens: number
  readonly vocoder: VocoderStream
}

export interface DecodeOptions {
  readonly signal?: AbortSignal
  /**
   * Called before each computation. True: nothing else computes, so the vocoder uses all threads and other stages wait.
   */
  readonly useAllThreads?: () => boolean
}

/**
 * One reply's vocoder. The concatenation of its results is the reply's audio; a vocoder with look-ahead buffers frames.
 * It runs in parallel with the thinker and the next speech step, one call at a time. Dispose it while no call runs,
 * also after a failure.
 */
export interface VocoderStream extends Disposable {
  /** `codes`: [frames, groups]. Returns the samples that these frames complete, in [-1, 1]. */
  push(codes: Int32Array, options?: DecodeOptions): Promise<Float32Array>
  /** The samples that remain after the last frame. */
  finish(options?: DecodeOptions): Promise<Float32Array>
}

/** A reply in a batched step. */
export interface SpeechBatchMember {
  readonly reply: SpeechReply
  /** Cancelled or failed: it takes no further part in the step, and is disposed after it. */
  readonly inactive: boolean
  /** Whether a frame may be made; false while the vocoder is too far behind. */
  readonly canMakeFrame: boolean
  /** Adds a frame, [groups]. Call it as soon as there is one, because decoding starts with it. */
  addFrame(codes: Int32Array): void
  /** Ends the reply after the frames made so far. */
  endFrames(): void
  /** Reports that there is no memory for its next rows. It is left out of steps until memory is freed. */
  waitForMemory(): void
  fail(error: unknown): void
}

/** Networks of a speech step. */
export type SpeechStep = 'talker' | 'code-predictor'

export interface AdvanceOptions {
  /** Most rows to prefill in the step, over all replies. */
  readonly prefillRows: number
  /** Aborted when all replies of the step have been cancelled. */
  readonly signal: AbortSignal
  /** Called when a network starts, and with undefined when it ends, for profiles. */
  readonly onStep?: (step: SpeechStep | undefined) => void
}

/** A prompt whose first rows are final: see {@link SpeechPipeline.prefill}. */
export interface SpeechPrefill {
  readonly prompt: PreparedPrompt
  readonly cacheKey: NonNullable<SpeechStart['cacheKey']>
  /** Number of leading rows that are final. */
  readonly until: number
  /** The thinker's hidden states of those rows, by row, as far as `hiddenRows` selects them. */
  readonly hidden: ReadonlyMap<number, Float32Array>
  /** Most rows of the next step. Called before each step. */
  readonly rows: () => number
  /** Awaited between steps. Rejects when the prefill is cancelled. */
  readonly pause: () => Promise<void>
  readonly signal: AbortSignal
}

/** A loaded checkpoint's speech. */
export interface SpeechPipeline extends SpeechFacts {
  /** Rows whose hidden states replies may need. They are cached with a prefix, so that other replies can reuse it. */
  readonly hiddenRows: ThinkerRows
  /** Text tokens required before a reply starts, unless the text is complete. At least 1; Infinity: the whole text. */
  readonly minTextTokens: number
  /** Most frames that may wait for the vocoder. */
  readonly maxPendingFrames: number
  /** Bytes of caches of the shortest reply. Absent: none. */
  readonly minBytes?: number
  /** Frames of the n-th call of a reply's vocoder, from 0. */
  chunkFrames(chunk: number): number
  /**
   * Creates a reply. Throws `EngineError('overloaded')` when memory is short, and `unsupported` for a prompt that
   * speech does not support.
   */
  newReply(start: SpeechStart): SpeechReply
  /**
   * Prefills and caches the common part of replies to prompts that start with the given rows, for the same scope. Rows
   * computed before `pause` rejects are also cached. Absent: not supported.
   */
  prefill?(start: SpeechPrefill): Promise<void>
  /** Clears the caches of finished replies. */
  clearCache?(): void
  /**
   * One batched step for all ready replies, with at most one frame each. A failure calls `fail` of only the replies
   * concerned.
   */
  advance(members: readonly SpeechBatchMember[], options: AdvanceOptions): Promise<void>
}

/** Limit of the frames for a text: `frames`, plus `perToken` for each spoken token. */
export interface SpeechAllowance {
  readonly frames: number
  readonly perToken: number
}

/** Options of speech that override the checkpoint's generation_config.json. */
export interface SpeechOptions {
  /** Greedy sampling without a frame limit, for comparison with references. */
  readonly exact?: boolean
  /** Most frames of a reply. */
  readonly maxFrames?: number
  /** Settings of the diffusion vocoder, for families that have one. Default: the family's. */
  readonly diffusion?: DiffusionOptions
  /** The vocoder decodes all codes in one piece, for comparison with streamed audio. */
  readonly onePiece?: boolean
}

export interface DiffusionOptions {
  /** `euler`: one evaluation of the network per step. `rk4`: four, as in the reference. */
  readonly solver?: 'euler' | 'rk4'
  readonly steps?: number
  /** Scale of classifier-free guidance. 0 disables it and halves the work. */
  readonly guidance?: number
  /**
   * Blocks of frames in each piece of audio; the last entry repeats. Infinity: waits for the whole reply.
   */
  readonly windows?: readonly number[]
}
