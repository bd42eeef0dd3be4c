/**
 * One reply being spoken: the talker's sequence, the text it still has to read, the frames waiting for the vocoder.
 *
 * In: ids of spoken text as the thinker writes them, and the stages' outputs. Out: batches' inputs, and 16-bit sound.
 * The loop in `speech-step.ts` drives it; the talker reads one text row for each code it makes, then an end row, then pads.
 * Reference: transformers `Qwen3OmniMoeTalkerForConditionalGeneration.prepare_inputs_for_generation` (a step's input is the sum of the
 * last frame's code embeddings and `trailing_text_hidden[step]`).
 */

import type { SpeechAllowance } from './generation-settings.ts'
import type { Code2WavStream, StageSequence } from '../models/stages.ts'
import type { Sampler } from './sampler.ts'
import type { TalkerPlan } from './talker-prompt.ts'

export interface SpeechTaskOptions {
  readonly plan: TalkerPlan
  readonly tokenIds: Int32Array
  readonly speakerId: number
  readonly sequence: StageSequence
  readonly stream: Code2WavStream
  readonly sampler: Sampler
  readonly codeSampler: Sampler
  readonly maxFrames: number
  /** Most codes for the text there is, once that is complete; see `GenerationSettings`. */
  readonly allowance: SpeechAllowance
  /** Sees each frame's codes, [codeGroups]. */
  readonly onFrame?: (codes: Int32Array) => void
  readonly codeGroups: number
  readonly thinkerHidden: number
}

export class SpeechTask implements Disposable {
  readonly options: SpeechTaskOptions
  /** Thinker hidden states of the plan's media rows, filled by prefill: [media rows, thinker hidden]. */
  readonly mediaHidden: Float32Array
  /** Talker prefix rows already run. */
  prefilled = 0
  /** The whole prefix has been run: from here one code a step. */
  opened = false
  /** Set by the last talker step: what to sample the next code from. */
  logits: Float32Array | undefined
  hidden: Float32Array | undefined
  /** Codes sampled, the end code included. */
  sampled = 0
  /** Finished frames not decoded yet, each [codeGroups]. */
  frames: Int32Array[] = []
  frameCount = 0
  chunk = 0
  /** The vocoder's work on this reply, while there is any. Never rejects. */
  decoding: Promise<void> | undefined
  /** The talker has ended; what is left is decoding. */
  talked = false
  /** Everything has been decoded. */
  finished = false
  /** Text ids waiting for their embedding. */
  unread: number[] = []
  /** First row opens the reply; the rest are read one a code. */
  firstText: Float32Array | undefined
  readonly #trailing: Float32Array[] = []
  #textEnded = false
  #heard = 0
  #endRead = false
  readonly #mediaOrder = new Map<number, number>()

  constructor(options: SpeechTaskOptions) {
    this.options = options
    options.plan.userRows.forEach((row, index) => {
      if (options.plan.isMedia[index] === 1) this.#mediaOrder.set(row, this.#mediaOrder.size)
    })
    this.mediaHidden = new Float32Array(this.#mediaOrder.size * options.thinkerHidden)
  }

  /** Adds spoken text. */
  say(ids: readonly number[]): void {
    if (ids.length === 0 || this.talked) return
    this.unread.push(...ids)
    this.#heard += ids.length
  }

  /** No more text. A reply without any is not spoken at all. */
  endText(): void {
    this.#textEnded = true
    if (this.#heard === 0) {
      this.talked = true
      this.finished = true
    }
  }

  /** Rows arrived for the oldest `rows.length` unread ids. */
  giveText(rows: readonly Float32Array[]): void {
    for (const row of rows) {
      if (this.firstText === undefined) this.firstText = row
      else this.#trailing.push(row)
    }
  }

  /** Whether any prompt row in [from, until) is a media row whose hidden state the talker reads. */
  wantsHidden(from: number, until: number): boolean {
    for (const row of this.#mediaOrder.keys()) if (row >= from && row < until) return true
    return false
  }

  /** Keeps what it needs of the thinker's hidden states of prompt rows [from, from + tokens). */
  takeHidden(from: number, hidden: Float32Array): void {
    const width = this.options.thinkerHidden
    for (let token = 0; token * width < hidden.length; token += 1) {
      const place = this.#mediaOrder.get(from + token)
      if (place !== undefined) this.mediaHidden.set(hidden.subarray(token * width, (token + 1) * width), place * width)
    }
  }

  /** Whether the talker's prefix can begin: there is a first text row. */
  get canBegin(): boolean {
    return this.firstText !== undefined
  }

  /** Whether the text row for the next code is known: a row, or the end. */
  get hasText(): boolean {
    return this.#trailing.length > 0 || (this.#textEnded && this.unread.length === 0)
  }

  /** Codes it may sample in all, as far as is known now. */
  get frameLimit(): number {
    const { allowance, maxFrames } = this.options
    return this.#textEnded ? Math.min(maxFrames, allowance.frames + allowance.perToken * this.#heard) : maxFrames
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
    this.talked = true
    this.finished = true
    const { sequence, stream } = this.options
    sequence[Symbol.dispose]()
    if (this.decoding) void this.decoding.then(() => stream[Symbol.dispose]())
    else stream[Symbol.dispose]()
    this.logits = undefined
    this.hidden = undefined
    this.frames = []
    this.unread = []
    this.#trailing.length = 0
  }
}
