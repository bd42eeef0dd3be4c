/**
 * A model family's speech, as the runtime sees it: replies that take text and give codec frames, and a vocoder.
 *
 * The runtime owns scheduling: which replies are in a step, how far the vocoder may lag behind, what is sent when. The
 * family owns the rest: its networks, their input from the thinker, how codes are sampled. All arrays are row-major
 * with the last dimension contiguous.
 */

import type { PreparedPrompt } from '../prompt/prepared-prompt.ts'
import type { TokenRun } from './token-run.ts'

/**
 * Rows of the thinker's sequence, prompt first, then every generated token that has been run.
 * - `prompt-media`: placeholders of images, audio and video;
 * - `all`: every row.
 */
export type ThinkerRows = 'none' | 'prompt-media' | 'all'

/** A checkpoint's speech facts, without its weights. */
export interface SpeechFacts {
  /** Lower-case names, as the checkpoint orders them. */
  readonly speakers: readonly string[]
  /** Hertz. */
  readonly sampleRate: number
  /** Codec frames that make a second of audio: 12.5 or 50. */
  readonly frameRate: number
}

/** A token of the answer that is to be spoken. */
export interface SpokenToken {
  readonly id: number
  /**
   * Its row in the thinker's sequence. Absent for text that is tokenized differently for speech: there is no hidden
   * state for it.
   */
  readonly row?: number
}

export interface SpeechStart {
  readonly prompt: PreparedPrompt
  /** One of {@link SpeechFacts.speakers}, for the reply and the vocoder. */
  readonly speaker: string
  /** Seeds everything random in the reply: codes, and noise where the vocoder needs some. */
  readonly seed: number
  /**
   * The prompt's scope, and the prompt as a run of tokens. The family may then keep what it computes for later replies
   * of an equal scope. Absent: nothing is kept or reused.
   */
  readonly cacheKey?: { readonly scope: string; readonly run: TokenRun }
}

/**
 * One reply's speech. Disposing it returns its caches; the runtime does so between steps only.
 *
 * Ids of the prompt come with it, ids of the answer through `say`; input embeddings follow from ids
 * (`ThinkerStage.embed`).
 */
export interface SpeechReply extends Disposable {
  /**
   * Takes the memory that the prompt needs, before the reply begins. Rejects with `EngineError('overloaded')` when it
   * is short.
   */
  reserve(): Promise<void>
  /** Bytes of caches that it holds. */
  readonly cacheBytes: number
  /**
   * Frees its caches, whose content later steps compute again; what the reply says does not change. Returns whether
   * it could. Between steps only.
   */
  preempt(): boolean
  /** Whether it needs the hidden state of any row in [from, until). */
  needsHidden(from: number, until: number): boolean
  /**
   * Hidden states of rows [from, from + tokens): [tokens, thinker hidden]. Called in order of rows, each row at most
   * once: the prompt's first (a reused prefix's from the cache), a generated token's one step after it was sampled,
   * none after `endText`.
   */
  takeHidden(from: number, hidden: Float32Array): void
  /** Text to speak, in order. */
  addText(tokens: readonly SpokenToken[]): void
  /** No more text. Not called for a reply without any, which has no speech. */
  endText(): void
  /** Whether a step has work for it. `frame`: whether a frame may be made. */
  canAdvance(frame: boolean): boolean
  /** Tokens that usage counts for the audio made so far. */
  readonly audioTokens: number
  readonly vocoder: VocoderStream
}

export interface DecodeOptions {
  readonly signal?: AbortSignal
  /**
   * Asked before each computation: whether nothing else computes, so that it takes all threads and other stages wait.
   */
  readonly alone?: () => boolean
}

/**
 * One reply's vocoder. What it returns, joined, is the whole reply's audio; a vocoder that looks ahead keeps pending
 * frames. Runs in parallel with the thinker and the next speech step, one call at a time. Disposed when no call runs,
 * also after one has failed.
 */
export interface VocoderStream extends Disposable {
  /** `codes`: [frames, groups]. Returns the samples these frames complete, in [-1, 1]. */
  push(codes: Int32Array, options?: DecodeOptions): Promise<Float32Array>
  /** The samples that remain after the last frame. */
  finish(options?: DecodeOptions): Promise<Float32Array>
}

/** A reply's part in one step. */
export interface SpeechBatchMember {
  readonly reply: SpeechReply
  /** Cancelled: no more work for it. It is disposed after the step. */
  readonly inactive: boolean
  /** Whether a frame may be made; false while the vocoder is too far behind. */
  readonly canMakeFrame: boolean
  /** A frame has been made: [groups]. To be called as soon as there is one, because decoding begins with it. */
  addFrame(codes: Int32Array): void
  /** The reply ends with the frames made so far. */
  endFrames(): void
  /** There is no memory for its next rows: it takes part again once some was freed. */
  waitForMemory(): void
  fail(error: unknown): void
}

/** Networks of a speech step. */
export type SpeechStep = 'talker' | 'code-predictor'

export interface AdvanceOptions {
  /** Rows of prompt to prefill in the step, over all replies. */
  readonly prefillRows: number
  /** Aborted when no reply of the step is needed any more. */
  readonly signal: AbortSignal
  /** Called when a network begins, and with undefined when it is through: for profiles. */
  readonly onStep?: (step: SpeechStep | undefined) => void
}

/** A prompt of which the beginning is there: see {@link SpeechPipeline.prefill}. */
export interface SpeechPrefill {
  readonly prompt: PreparedPrompt
  readonly cacheKey: NonNullable<SpeechStart['cacheKey']>
  /** Rows of the prompt that are as they will be. */
  readonly until: number
  /** The thinker's hidden state of a row of those, as far as `hiddenRows` has it. */
  readonly hidden: ReadonlyMap<number, Float32Array>
  /** Rows that one step may read. Asked before each. */
  readonly rows: () => number
  /** Awaited between steps; rejects when it is given up. */
  readonly pause: () => Promise<void>
  readonly signal: AbortSignal
}

/** A loaded checkpoint's speech. */
export interface SpeechPipeline extends SpeechFacts {
  /** Rows whose hidden states replies may need: kept with a prefix so that another reply can reuse it. */
  readonly hiddenRows: ThinkerRows
  /** Tokens of text before a reply begins, unless the text is complete: at least 1, Infinity for the whole text. */
  readonly minTextTokens: number
  /** Frames that may wait for the vocoder before no more are made. */
  readonly maxPendingFrames: number
  /** Bytes of caches that the shortest reply takes. Absent: none. */
  readonly minBytes?: number
  /** Frames of the n-th call (from 0) of a reply's vocoder. */
  chunkFrames(chunk: number): number
  /**
   * Throws `EngineError('overloaded')` when memory is short, and `unsupported` for a prompt that speech does not
   * support.
   */
  newReply(start: SpeechStart): SpeechReply
  /**
   * Computes what replies to a prompt that continues from there will have in common, and keeps it for one of an equal
   * scope. What was computed is kept when `pause` rejects. Absent: there is nothing of the kind.
   */
  prefill?(start: SpeechPrefill): Promise<void>
  /** Gives up what is kept of replies that are over. */
  forget?(): void
  /**
   * One step for all ready replies, at most one frame each; the networks run batched. A failure of one reply, or of a
   * batch, goes to `fail` of only the replies concerned.
   */
  advance(members: readonly SpeechBatchMember[], options: AdvanceOptions): Promise<void>
}

/** The limit of a text's speech: `frames`, and `perToken` more for each spoken token. */
export interface SpeechAllowance {
  readonly frames: number
  readonly perToken: number
}

/** How codes are sampled, beyond what the checkpoint's generation_config.json says. */
export interface SpeechOptions {
  /** Greedy, without a limit: for comparing with references. */
  readonly exact?: boolean
  /** Most frames of a reply. */
  readonly maxFrames?: number
  /** How a diffusion turns codes into audio, where the family has one; missing values are the family's default. */
  readonly diffusion?: DiffusionOptions
  /** The vocoder decodes all codes in one piece, for comparison with streamed audio. */
  readonly onePiece?: boolean
}

export interface DiffusionOptions {
  /** `euler`: one evaluation of the network a step. `rk4`: four, as the reference. */
  readonly solver?: 'euler' | 'rk4'
  readonly steps?: number
  /** Guidance scale, away from the unconditioned result; 0 halves the work. */
  readonly guidance?: number
  /**
   * Blocks of frames in each piece of audio, the last entry for all that follow; Infinity waits for the whole reply.
   */
  readonly windows?: readonly number[]
}
