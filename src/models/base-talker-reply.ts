/**
 * One reply's speech as the talkers of all families drive it: the talker's cache and the queue of text rows.
 *
 * In: rows of spoken text, and a family's own prefix. Out: what the next step of the talker needs. A subclass provides
 * the prefix and turns tokens into text rows. Reference: transformers, `generate` of the Qwen-Omni classes.
 */

import type { Sampler } from '../sampling/sampler.ts'
import type { SpeechAllowance, VocoderStream } from './speech.ts'
import type { StageSequence } from './stages.ts'

export interface BaseReplyOptions {
  /** The talker's KV cache. */
  readonly sequence: StageSequence
  readonly vocoder: VocoderStream
  readonly sampler: Sampler
  readonly maxFrames: number
  /** Limit of codes for the spoken text. It applies once the text is complete; see `SpeechSettings`. */
  readonly allowance: SpeechAllowance
  /** Width of the thinker's hidden states. */
  readonly thinkerHidden: number
}

export abstract class BaseTalkerReply<Options extends BaseReplyOptions> {
  readonly options: Options
  /** Prefix rows in the talker's cache. */
  prefilled = 0
  /** The whole prefix is in the cache: each further step makes one code. */
  prefillComplete = false
  /** Output of the last talker step, from which the next code is sampled: [codec vocabulary]. */
  logits: Float32Array | undefined
  /** Frames made so far. */
  frameCount = 0
  /** The talker makes no more frames. */
  ended = false
  /** The first text row, which is part of the prefix; each later row goes with one code. */
  firstText: Float32Array | undefined
  /** Spoken tokens received so far. */
  protected textTokens = 0
  protected textEnded = false
  /** The prefix has been complete before: its rows are computed again after a loss of the cache. */
  protected recomputes = false
  readonly #textRows: Float32Array[] = []
  #endUsed = false

  constructor(options: Options) {
    this.options = options
  }

  /** The next frame's input while it waits for memory. */
  abstract pending: object | undefined

  /** Rows that precede the next frame's input: the prefix, and frames already made. */
  abstract get prefixRows(): number

  /** Whether spoken tokens still wait for their text rows. */
  protected abstract get hasPendingText(): boolean

  /** Whether some of the waiting tokens can get their text rows now. */
  protected abstract get hasReadyText(): boolean

  /** Whether a step can prefill rows. `frame`: whether a frame may be made afterwards. */
  abstract canPrefill(frame: boolean): boolean

  get vocoder(): VocoderStream {
    return this.options.vocoder
  }

  /** See `SpeechReply.reserve`. */
  reserve(): Promise<void> {
    return this.options.sequence.reserve(this.prefixRows)
  }

  get cacheBytes(): number {
    return this.ended ? 0 : this.options.sequence.bytes
  }

  /** See `SpeechReply.preempt`. */
  preempt(): boolean {
    const { sequence } = this.options
    if (this.ended || sequence.reserved === 0 || !this.canRecompute) return false
    sequence.release()
    this.resetCache()
    return true
  }

  /** Whether the inputs of all rows in the cache are retained. */
  protected get canRecompute(): boolean {
    return true
  }

  /** Records that the cache is empty: all rows have to be computed again. */
  resetCache(): void {
    this.recomputes ||= this.prefillComplete
    this.prefillComplete = false
    this.prefilled = 0
  }

  endText(): void {
    this.textEnded = true
  }

  canAdvance(frame: boolean): boolean {
    if (this.ended) return false
    if (this.hasReadyText) return true
    return this.prefillComplete ? this.hasNextFrame(frame) : this.canPrefill(frame)
  }

  protected hasNextFrame(frame: boolean): boolean {
    return this.pending !== undefined || (frame && this.hasText)
  }

  /** Appends a row of spoken text. */
  addTextRow(row: Float32Array): void {
    if (this.firstText === undefined) this.firstText = row
    else this.#textRows.push(row)
  }

  /** Whether the text row for the next code is known: a row of text, or the end row. */
  get hasText(): boolean {
    return this.#textRows.length > 0 || (this.textEnded && !this.hasPendingText)
  }

  /** Most frames of the reply, as far as the text is known. */
  get frameLimit(): number {
    const { allowance, maxFrames } = this.options
    return this.textEnded ? Math.min(maxFrames, allowance.frames + allowance.perToken * this.textTokens) : maxFrames
  }

  /** Removes and returns the text row for the next code. Call only when {@link hasText}. */
  nextText(after: { end: Float32Array; pad: Float32Array }): Float32Array {
    const row = this.#textRows.shift()
    if (row) return row
    if (this.#endUsed) return after.pad
    this.#endUsed = true
    return after.end
  }

  /** Frees what later steps would need. The sequence is the subclass's to dispose. */
  protected clear(): void {
    this.ended = true
    this.logits = undefined
    this.pending = undefined
    this.#textRows.length = 0
  }
}
