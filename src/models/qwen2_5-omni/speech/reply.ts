/**
 * One reply's speech: the talker's sequence, and its pending input rows.
 *
 * In: hidden states of the thinker's rows, ids of spoken text. Out: inputs of the batched steps in `pipeline.ts`. The
 * talker's prefix is the whole prompt, the voice and the first text token. Each code then needs one text row: rows of
 * text, then one end row, then padding rows. Reference: transformers `Qwen2_5OmniForConditionalGeneration.generate`
 * (`thinker_reply_part`).
 */

import type { PreparedPrompt } from '../../../prompt/prepared-prompt.ts'
import { BaseTalkerReply, type BaseReplyOptions } from '../../base-talker-reply.ts'
import type { SpeechReply, SpokenToken } from '../../speech.ts'
import type { TalkerInput } from '../talker.ts'

export interface TalkerReplyOptions extends BaseReplyOptions {
  readonly prompt: Pick<PreparedPrompt, 'tokenIds' | 'positions'>
  /** Thinker token that stands for the voice. */
  readonly voiceToken: number
}

/** Prompt rows that may wait for the first text row; more are prefilled without it. */
const MAX_WAITING_ROWS = 2048
/** Prompt rows whose hidden states are retained until the reply ends, so that its cache can be recomputed. */
const MAX_RETAINED_ROWS = 2048

/** Rows between the prompt and the first code: the voice, the first token of text. */
export const OPENING_ROWS = 2

/** A code whose row the talker has run, with the text row of that step. */
export interface RanCode {
  readonly code: number
  readonly text: Float32Array
}

/** Hidden states of consecutive prompt rows, the first of which is `from`. */
interface PromptRows {
  readonly from: number
  readonly hidden: Float32Array
}

export class TalkerReply extends BaseTalkerReply<TalkerReplyOptions> implements SpeechReply {
  readonly ran: RanCode[] = []
  /** Entries of `ran` whose rows are in the talker's cache. */
  ranInCache = 0
  openingInCache = false
  pending: (RanCode & { readonly input: TalkerInput }) | undefined = undefined
  #promptRows: PromptRows[] = []
  #received = 0
  /** Spoken tokens without a text row. */
  #pendingTokens: SpokenToken[] = []
  /** Hidden states that arrived before their token was spoken, by row. */
  readonly #hidden = new Map<number, Float32Array>()
  readonly #firstCodePosition: number

  constructor(options: TalkerReplyOptions) {
    super(options)
    const largest = options.prompt.positions.reduce((most, position) => Math.max(most, position), -1)
    this.#firstCodePosition = Math.max(largest + 1, this.openingPosition + 2)
  }

  /** 25 per second: one for every two codes. */
  get audioTokens(): number {
    return Math.ceil(this.frameCount / 2)
  }

  get prefixRows(): number {
    return this.options.prompt.tokenIds.length + OPENING_ROWS + this.ran.length
  }

  /** Throws when the hidden states of the prompt are not retained. */
  override resetCache(): void {
    if (!this.canRecompute) throw new Error("the talker's cache was lost")
    super.resetCache()
    this.openingInCache = false
    this.ranInCache = 0
  }

  protected override get canRecompute(): boolean {
    return this.prefilled === 0 || this.#retainsPrompt
  }

  get #retainsPrompt(): boolean {
    return this.options.prompt.tokenIds.length <= MAX_RETAINED_ROWS
  }

  /** All rows of the prompt and of the answer are needed. */
  needsHidden(): boolean {
    return !this.ended
  }

  takeHidden(from: number, hidden: Float32Array): void {
    if (this.ended) return
    const { prompt, thinkerHidden: width } = this.options
    const promptTokens = prompt.tokenIds.length
    const rows = hidden.length / width
    const ofPrompt = Math.max(0, Math.min(rows, promptTokens - from))
    if (ofPrompt > 0) {
      this.#promptRows.push({ from, hidden: hidden.subarray(0, ofPrompt * width) })
      this.#received = from + ofPrompt
    }
    for (let row = ofPrompt; row < rows; row += 1)
      this.#hidden.set(from + row, hidden.slice(row * width, (row + 1) * width))
  }

  addText(tokens: readonly SpokenToken[]): void {
    if (this.ended) return
    this.#pendingTokens.push(...tokens)
    this.textTokens += tokens.length
  }

  protected get hasPendingText(): boolean {
    return this.#pendingTokens.length > 0
  }

  protected get hasReadyText(): boolean {
    return this.#readyCount > 0
  }

  /** Removes the tokens that are ready, with their hidden states (undefined where there are none). */
  takeReadyTokens(): { readonly id: number; readonly hidden: Float32Array | undefined }[] {
    return this.#pendingTokens.splice(0, this.#readyCount).map(({ id, row }) => {
      const hidden = row === undefined ? undefined : this.#hidden.get(row)
      if (row !== undefined) this.#hidden.delete(row)
      return { id, hidden }
    })
  }

  /** Pending tokens whose hidden states have arrived, or never will: those before the first that still waits. */
  get #readyCount(): number {
    if (this.textEnded) return this.#pendingTokens.length
    const waiting = this.#pendingTokens.findIndex(({ row }) => row !== undefined && !this.#hidden.has(row))
    return waiting < 0 ? this.#pendingTokens.length : waiting
  }

  /**
   * Requires waiting prompt rows, and the first text row unless too many rows wait for it; a recomputation waits until
   * a frame follows it.
   */
  canPrefill(frame: boolean): boolean {
    if (this.recomputes && !this.hasNextFrame(frame)) return false
    const waiting = this.#received - this.prefilled
    if (this.firstText !== undefined) return waiting > 0 || this.prefilled === this.options.prompt.tokenIds.length
    return waiting >= MAX_WAITING_ROWS
  }

  /** Removes the waiting prompt rows, `most` at most: [rows, thinker hidden]. Frees them unless they are retained. */
  takePrompt(most: number): { readonly from: number; readonly hidden: Float32Array } {
    const width = this.options.thinkerHidden
    const from = this.prefilled
    const rows = Math.min(most, this.#received - from)
    const hidden = new Float32Array(rows * width)
    const left: PromptRows[] = []
    for (const part of this.#promptRows) {
      const start = Math.max(from, part.from)
      const partUntil = part.from + part.hidden.length / width
      const until = Math.min(from + rows, partUntil)
      if (until > start)
        hidden.set(
          part.hidden.subarray((start - part.from) * width, (until - part.from) * width),
          (start - from) * width,
        )
      if (this.#retainsPrompt || partUntil > from + rows) left.push(part)
    }
    this.#promptRows = left
    this.prefilled = from + rows
    return { from, hidden }
  }

  /** Position of the voice's row; the first text row has the next one. */
  get openingPosition(): number {
    const { positions } = this.options.prompt
    return (positions.at(-1) ?? -1) + 1
  }

  /** Position of the row after the n-th code. Unlike the thinker's, it continues from the largest prompt position. */
  codePosition(code: number): number {
    return this.#firstCodePosition + code
  }

  [Symbol.dispose](): void {
    this.options.sequence[Symbol.dispose]()
    this.clear()
    this.ran.length = 0
    this.#pendingTokens = []
    this.#promptRows = []
    this.#hidden.clear()
  }
}
