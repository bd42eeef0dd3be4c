/**
 * One reply's speech: the talker's sequence, and its pending text.
 *
 * In: ids of spoken text as the thinker generates them, and outputs of the stages. Out: inputs of the batched steps in
 * `pipeline.ts`. Each code needs one text row: rows of text, then one end row, then padding rows. Reference:
 * transformers `Qwen3OmniMoeTalkerForConditionalGeneration.prepare_inputs_for_generation` (a step's input is the sum of
 * the last frame's code embeddings and `trailing_text_hidden[step]`).
 */

import type { Sampler } from '../../../sampling/sampler.ts'
import { BaseTalkerReply, type BaseReplyOptions } from '../../base-talker-reply.ts'
import type { SpeechReply, SpokenToken } from '../../speech.ts'
import type { TalkerInput } from './stages.ts'
import { openingRows, type TalkerPlan } from './talker-prompt.ts'

export interface TalkerReplyOptions extends BaseReplyOptions {
  readonly plan: TalkerPlan
  readonly tokenIds: Int32Array
  readonly speakerId: number
  readonly codeSampler: Sampler
  /** User rows that the sequence already contains. */
  readonly prefilled: number
  /**
   * Called at the end of the reply; takes ownership of the sequence. `rows`: its user rows. Default: it is disposed.
   */
  readonly onEnd?: (rows: number) => void
}

export class TalkerReply extends BaseTalkerReply<TalkerReplyOptions> implements SpeechReply {
  /** Thinker hidden states of the plan's media rows, filled by prefill: [media rows, thinker hidden]. */
  readonly mediaHidden: Float32Array
  /** Input rows of the frames that the talker has run, [talker hidden] each. */
  readonly ran: Float32Array[] = []
  pending: TalkerInput | undefined = undefined
  hidden: Float32Array | undefined
  /** Codes sampled, the end code included. */
  sampled = 0
  /** Text ids waiting for their embedding. */
  pendingIds: number[] = []
  #disposed = false
  readonly #mediaOrder = new Map<number, number>()

  constructor(options: TalkerReplyOptions) {
    super(options)
    this.prefilled = options.prefilled
    options.plan.userRows.forEach((row, index) => {
      if (options.plan.isMedia[index] === 1) this.#mediaOrder.set(row, this.#mediaOrder.size)
    })
    this.mediaHidden = new Float32Array(this.#mediaOrder.size * options.thinkerHidden)
  }

  /** One token a frame, whatever its number of codes. */
  get audioTokens(): number {
    return this.frameCount
  }

  get prefixRows(): number {
    return this.options.plan.userRows.length + openingRows + this.ran.length
  }

  addText(tokens: readonly SpokenToken[]): void {
    if (this.ended) return
    for (const { id } of tokens) this.pendingIds.push(id)
    this.textTokens += tokens.length
  }

  protected get hasPendingText(): boolean {
    return this.pendingIds.length > 0
  }

  protected get hasReadyText(): boolean {
    return this.pendingIds.length > 0
  }

  /** Whether any row in [from, until) is a media row of the talker's input. */
  needsHidden(from: number, until: number): boolean {
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

  /** Requires the first text row; a recomputation waits until a frame follows it. */
  canPrefill(frame: boolean): boolean {
    return this.firstText !== undefined && (!this.recomputes || this.hasNextFrame(frame))
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    const { sequence, plan, onEnd } = this.options
    // The sequence's own length: it excludes rows of a step that failed.
    if (onEnd) onEnd(Math.min(sequence.length, plan.userRows.length))
    else sequence[Symbol.dispose]()
    this.clear()
    this.hidden = undefined
    this.pendingIds = []
    this.ran.length = 0
  }
}
