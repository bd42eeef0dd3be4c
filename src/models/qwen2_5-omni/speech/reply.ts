/**
 * One reply's speech: the talker's sequence, and its pending input rows.
 *
 * In: hidden states of the thinker's rows, ids of spoken text. Out: the next inputs of the batches in `pipeline.ts`,
 * which drives it. The talker takes the whole prompt, the voice and the first token of text, and then one token of text
 * for each code; after the text an end row, then pads. Reference: transformers
 * `Qwen2_5OmniForConditionalGeneration.generate` (`thinker_reply_part`).
 */

import type { PreparedPrompt } from '../../../prompt/prepared-prompt.ts'
import type { Sampler } from '../../../sampling/sampler.ts'
import type { SpeechAllowance, SpeechReply, SpokenToken, VocoderStream } from '../../speech.ts'
import type { StageSequence } from '../../stages.ts'
import type { TalkerInput } from '../talker.ts'

export interface TalkerReplyOptions {
  readonly prompt: Pick<PreparedPrompt, 'tokenIds' | 'positions'>
  /** Thinker token that stands for the voice. */
  readonly voiceToken: number
  readonly sequence: StageSequence
  readonly vocoder: VocoderStream
  readonly sampler: Sampler
  readonly maxFrames: number
  /** Most codes for the text there is, once that is complete; see `SpeechSettings`. */
  readonly allowance: SpeechAllowance
  readonly thinkerHidden: number
}

/** Prompt rows that may wait for the talker before it begins without any text. */
const MOST_WAITING = 2048
/** Prompt rows whose hidden states are kept until the reply is over, so that it can yield its memory. */
const MOST_KEPT = 2048

/** Rows between the prompt and the first code: the voice, the first token of text. */
export const OPENING_ROWS = 2

/** A code that the talker has run, with the row of text of its step. */
export interface RanCode {
  readonly code: number
  readonly text: Float32Array
}

/** Rows of the prompt as they came: hidden states of rows `from` on. */
interface PromptRows {
  readonly from: number
  readonly hidden: Float32Array
}

export class TalkerReply implements SpeechReply {
  readonly options: TalkerReplyOptions
  /** Prompt rows that the talker has prefilled. */
  prefilled = 0
  readonly ran: RanCode[] = []
  /** Of those, how many are in the talker's cache. */
  ranAgain = 0
  /** The opening is in the talker's cache. */
  begun = false
  /** The next code's input, which waits for memory. */
  pending: (RanCode & { readonly input: TalkerInput }) | undefined
  /** The talker's whole prompt has been run: from here one code a step. */
  opened = false
  /** Set by the last talker step: what to sample the next code from. */
  logits: Float32Array | undefined
  frameCount = 0
  /** The talker has ended. */
  ended = false
  /** The first row of text opens the reply; later ones are used one a code. */
  firstText: Float32Array | undefined
  readonly #trailing: Float32Array[] = []
  /** The prompt was run before, and the cache then given up. */
  #lost = false
  #promptRows: PromptRows[] = []
  #received = 0
  /** Spoken tokens without a row yet, and hidden states that came before their token was spoken, by row. */
  #unread: SpokenToken[] = []
  readonly #hidden = new Map<number, Float32Array>()
  #textEnded = false
  #textTokens = 0
  #endRead = false
  readonly #firstCodePosition: number

  constructor(options: TalkerReplyOptions) {
    this.options = options
    const largest = options.prompt.positions.reduce((most, position) => Math.max(most, position), -1)
    this.#firstCodePosition = Math.max(largest + 1, this.openingPosition + 2)
  }

  get vocoder(): VocoderStream {
    return this.options.vocoder
  }

  /** 25 a second: one for every two codes. */
  get audioTokens(): number {
    return Math.ceil(this.frameCount / 2)
  }

  reserve(): Promise<void> {
    return this.options.sequence.reserve(this.prefixRows)
  }

  /** Rows that the talker runs before the next code's, the first time or again. */
  get prefixRows(): number {
    return this.options.prompt.tokenIds.length + OPENING_ROWS + this.ran.length
  }

  get heldBytes(): number {
    return this.ended ? 0 : this.options.sequence.bytes
  }

  yieldMemory(): boolean {
    const { sequence } = this.options
    if (this.ended || sequence.reserved === 0 || !(this.prefilled === 0 || this.#keepsPrompt)) return false
    sequence.release()
    this.begunAgain()
    return true
  }

  /** Its cache is empty: all rows are to be run again. Throws where the prompt's are not kept. */
  begunAgain(): void {
    if (this.prefilled > 0 && !this.#keepsPrompt) throw new Error("the talker's cache was lost")
    this.#lost ||= this.opened
    this.opened = false
    this.begun = false
    this.prefilled = 0
    this.ranAgain = 0
  }

  get #keepsPrompt(): boolean {
    return this.options.prompt.tokenIds.length <= MOST_KEPT
  }

  /** Every row of the prompt and of the answer. */
  wantsHidden(): boolean {
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

  say(tokens: readonly SpokenToken[]): void {
    if (this.ended) return
    this.#unread.push(...tokens)
    this.#textTokens += tokens.length
  }

  endText(): void {
    this.#textEnded = true
  }

  canAdvance(frame: boolean): boolean {
    if (this.ended) return false
    if (this.#readable > 0) return true
    return this.opened ? this.#hasCode(frame) : this.canRead(frame)
  }

  #hasCode(frame: boolean): boolean {
    return this.pending !== undefined || (frame && this.hasText)
  }

  /** Takes the spoken tokens with their hidden states, once these exist or will never come. */
  takeReadable(): { readonly id: number; readonly hidden: Float32Array | undefined }[] {
    return this.#unread.splice(0, this.#readable).map(({ id, row }) => {
      const hidden = row === undefined ? undefined : this.#hidden.get(row)
      if (row !== undefined) this.#hidden.delete(row)
      return { id, hidden }
    })
  }

  /** Rows of spoken text, [thinker hidden] each, in order. */
  giveText(row: Float32Array): void {
    if (this.firstText === undefined) this.firstText = row
    else this.#trailing.push(row)
  }

  /** How many pending tokens can be used now. */
  get #readable(): number {
    if (this.#textEnded) return this.#unread.length
    const waiting = this.#unread.findIndex(({ row }) => row !== undefined && !this.#hidden.has(row))
    return waiting < 0 ? this.#unread.length : waiting
  }

  /**
   * Whether the talker's prefill can continue: rows wait, and there is text for the last ones, or too many wait for
   * it; the second time, something is to follow.
   */
  canRead(frame: boolean): boolean {
    if (this.#lost && !this.#hasCode(frame)) return false
    const waiting = this.#received - this.prefilled
    if (this.firstText !== undefined) return waiting > 0 || this.prefilled === this.options.prompt.tokenIds.length
    return waiting >= MOST_WAITING
  }

  /** Available prompt rows [from, until), `most` at most; hidden states of a long prompt are freed. */
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
      if (this.#keepsPrompt || partUntil > from + rows) left.push(part)
    }
    this.#promptRows = left
    this.prefilled = from + rows
    return { from, hidden }
  }

  /** Whether the text row for the next code is known: a row, or the end. */
  get hasText(): boolean {
    return this.#trailing.length > 0 || (this.#textEnded && this.#unread.length === 0)
  }

  /** The limit of its codes, as far as it is known now. */
  get frameLimit(): number {
    const { allowance, maxFrames } = this.options
    return this.#textEnded ? Math.min(maxFrames, allowance.frames + allowance.perToken * this.#textTokens) : maxFrames
  }

  /** The text row for the next code. Call only when {@link hasText}. */
  nextText(after: { end: Float32Array; pad: Float32Array }): Float32Array {
    const row = this.#trailing.shift()
    if (row) return row
    if (this.#endRead) return after.pad
    this.#endRead = true
    return after.end
  }

  /** Position of the voice's row; the first text row has the next one. */
  get openingPosition(): number {
    const { positions } = this.options.prompt
    return (positions.at(-1) ?? -1) + 1
  }

  /** Position of the row after the n-th code: it continues from the largest of all, unlike the thinker's. */
  codePosition(code: number): number {
    return this.#firstCodePosition + code
  }

  [Symbol.dispose](): void {
    this.ended = true
    this.options.sequence[Symbol.dispose]()
    this.logits = undefined
    this.pending = undefined
    this.ran.length = 0
    this.#unread = []
    this.#trailing.length = 0
    this.#promptRows = []
    this.#hidden.clear()
  }
}
