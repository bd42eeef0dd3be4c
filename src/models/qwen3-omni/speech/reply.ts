/**
 * One reply's speech: the talker's sequence, and its pending text.
 *
 * In: ids of spoken text as the thinker generates them, and the stages' outputs. Out: inputs of the batches in
 * `pipeline.ts`, which drives it; the talker takes one text row for each code, then an end row, then pads. Reference:
 * transformers `Qwen3OmniMoeTalkerForConditionalGeneration.prepare_inputs_for_generation` (a step's input is the sum of
 * the last frame's code embeddings and `trailing_text_hidden[step]`).
 */

import type { Sampler } from '../../../sampling/sampler.ts'
import type { SpeechAllowance, SpeechReply, SpokenToken, VocoderStream } from '../../speech.ts'
import type { StageSequence } from '../../stages.ts'
import type { TalkerInput } from './stages.ts'
import { openingRows, type TalkerPlan } from './talker-prompt.ts'

export interface TalkerReplyOptions {
  readonly plan: TalkerPlan
  readonly tokenIds: Int32Array
  readonly speakerId: number
  readonly sequence: StageSequence
  readonly vocoder: VocoderStream
  readonly sampler: Sampler
  readonly codeSampler: Sampler
  readonly maxFrames: number
  /** Most codes for the text there is, once that is complete; see `SpeechSettings`. */
  readonly allowance: SpeechAllowance
  readonly thinkerHidden: number
  /** User rows that an earlier reply has prefilled. */
  readonly prefilled: number
  /** Takes the sequence when the reply is over, with its prefilled user rows. Default: it is disposed. */
  readonly onOver?: (rows: number) => void
}

export class TalkerReply implements SpeechReply {
  readonly options: TalkerReplyOptions
  /** Thinker hidden states of the plan's media rows, filled by prefill: [media rows, thinker hidden]. */
  readonly mediaHidden: Float32Array
  /** Talker prefix rows given to the talker: user turns, opening, and `ran` when they are computed again. */
  prefilled: number
  /** Input rows of the frames that the talker has run, [talker hidden] each. */
  readonly ran: Float32Array[] = []
  /** The next frame's input, which waits for memory. */
  pending: TalkerInput | undefined
  /** The whole prefix has been run: from here one code a step. */
  opened = false
  /** Set by the last talker step: what to sample the next code from. */
  logits: Float32Array | undefined
  hidden: Float32Array | undefined
  /** Codes sampled, the end code included. */
  sampled = 0
  frameCount = 0
  /** The talker has ended. */
  ended = false
  /** Text ids waiting for their embedding. */
  unread: number[] = []
  /** The first row opens the reply; later ones are used one a code. */
  firstText: Float32Array | undefined
  readonly #trailing: Float32Array[] = []
  /** The prefix was run before, and the cache then given up. */
  #lost = false
  #textEnded = false
  #textTokens = 0
  #endRead = false
  #disposed = false
  readonly #mediaOrder = new Map<number, number>()

  constructor(options: TalkerReplyOptions) {
    this.options = options
    this.prefilled = options.prefilled
    options.plan.userRows.forEach((row, index) => {
      if (options.plan.isMedia[index] === 1) this.#mediaOrder.set(row, this.#mediaOrder.size)
    })
    this.mediaHidden = new Float32Array(this.#mediaOrder.size * options.thinkerHidden)
  }

  get vocoder(): VocoderStream {
    return this.options.vocoder
  }

  /** One token a frame, whatever its number of codes. */
  get audioTokens(): number {
    return this.frameCount
  }

  reserve(): Promise<void> {
    return this.options.sequence.reserve(this.prefixRows)
  }

  /** Rows that the talker runs before the next frame's, the first time or again. */
  get prefixRows(): number {
    return this.options.plan.userRows.length + openingRows + this.ran.length
  }

  get heldBytes(): number {
    return this.ended ? 0 : this.options.sequence.bytes
  }

  yieldMemory(): boolean {
    const { sequence } = this.options
    if (this.ended || sequence.reserved === 0) return false
    sequence.release()
    this.begunAgain()
    return true
  }

  /** Its cache is empty: all rows are to be run again. */
  begunAgain(): void {
    this.#lost ||= this.opened
    this.opened = false
    this.prefilled = 0
  }

  say(tokens: readonly SpokenToken[]): void {
    if (this.ended) return
    for (const { id } of tokens) this.unread.push(id)
    this.#textTokens += tokens.length
  }

  endText(): void {
    this.#textEnded = true
  }

  /** Rows arrived for the oldest `rows.length` pending ids. */
  giveText(rows: readonly Float32Array[]): void {
    for (const row of rows) {
      if (this.firstText === undefined) this.firstText = row
      else this.#trailing.push(row)
    }
  }

  /** Whether any row in [from, until) is a media row of the talker's input. */
  wantsHidden(from: number, until: number): boolean {
    for (const row of this.#mediaOrder.keys()) if (row >= from && row < until) return true
    return false
  }

  takeHidden(from: number, hidden: Float32Array): void {
    const width = this.options.thinkerHidden
    for (let token = 0; token * width < hidden.length; token += 1) {
      const place = this.#mediaOrder.get(from + token)
      if (place !== undefined) this.mediaHidden.set(hidden.subarray(token * width, (token + 1) * width), place * width)
    }
  }

  canAdvance(frame: boolean): boolean {
    if (this.ended) return false
    if (this.unread.length > 0) return true
    return this.opened ? this.#hasFrame(frame) : this.canRead(frame)
  }

  /** Whether the talker's prefix can be run: there is a first text row, and, the second time, something to follow. */
  canRead(frame: boolean): boolean {
    return this.firstText !== undefined && (!this.#lost || this.#hasFrame(frame))
  }

  #hasFrame(frame: boolean): boolean {
    return this.pending !== undefined || (frame && this.hasText)
  }

  /** Whether the text row for the next code is known: a row, or the end. */
  get hasText(): boolean {
    return this.#trailing.length > 0 || (this.#textEnded && this.unread.length === 0)
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

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    this.ended = true
    const { sequence, plan, onOver } = this.options
    // The sequence's own length: rows of a step that failed are not in it.
    if (onOver) onOver(Math.min(sequence.length, plan.userRows.length))
    else sequence[Symbol.dispose]()
    this.logits = undefined
    this.hidden = undefined
    this.pending = undefined
    this.unread = []
    this.ran.length = 0
    this.#trailing.length = 0
  }
}
