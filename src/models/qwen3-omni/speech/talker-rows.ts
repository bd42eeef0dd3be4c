/**
 * The talker's input rows: special tokens, the prompt's user turns, the opening of the reply, and its text.
 *
 * In: a model's stages and a {@link TalkerPlan}. Out: rows of [talker hidden]. Special rows are computed once per
 * checkpoint. Reference: transformers `Qwen3OmniMoeForConditionalGeneration._get_talker_user_parts` and
 * `_get_talker_assistant_parts`.
 */

import type { ThinkerStage } from '../../stages.ts'
import type { SpeechConfig, TalkerStage } from './stages.ts'
import { openingRows, type TalkerPlan } from './talker-prompt.ts'

interface SpecialRows {
  readonly begin: Float32Array
  readonly end: Float32Array
  readonly pad: Float32Array
  readonly codec: Record<'nothink' | 'thinkBegin' | 'thinkEnd' | 'pad' | 'begin', Float32Array>
}

export class TalkerRows {
  readonly #thinker: ThinkerStage
  readonly #talker: TalkerStage
  readonly #config: SpeechConfig
  readonly #hidden: number
  #special: Promise<SpecialRows> | undefined

  constructor(thinker: ThinkerStage, talker: TalkerStage, config: SpeechConfig) {
    this.#thinker = thinker
    this.#talker = talker
    this.#config = config
    this.#hidden = talker.hiddenSize
  }

  /** One row per id of spoken text. */
  async text(ids: readonly number[]): Promise<Float32Array[]> {
    if (ids.length === 0) return []
    const rows = await this.#talker.projectText(await this.#thinker.embed(Int32Array.from(ids)))
    return ids.map((_, row) => rows.slice(row * this.#hidden, (row + 1) * this.#hidden))
  }

  /** The row at the end of the text, and the row used after it. */
  async afterText(): Promise<{ end: Float32Array; pad: Float32Array }> {
    const { end, pad } = await this.#specialRows()
    return { end, pad }
  }

  /**
   * Rows `from` to `until` of the user turns.
   * @param mediaHidden [media rows of the plan, thinker hidden], in the plan's order.
   * @param tokenIds of the prompt.
   */
  async userRows(
    plan: TalkerPlan,
    tokenIds: Int32Array,
    mediaHidden: Float32Array,
    from: number,
    until: number,
  ): Promise<Float32Array> {
    const hidden = this.#hidden
    const wide = this.#thinker.hiddenSize
    const textRows: number[] = []
    const mediaRows: number[] = []
    for (let row = from; row < until; row += 1) (plan.isMedia[row] === 1 ? mediaRows : textRows).push(row)
    const out = new Float32Array((until - from) * hidden)
    const place = (rows: readonly number[], values: Float32Array): void =>
      rows.forEach((row, index) =>
        out.set(values.subarray(index * hidden, (index + 1) * hidden), (row - from) * hidden),
      )
    if (textRows.length > 0) {
      const ids = Int32Array.from(textRows, (row) => tokenIds[plan.userRows[row]!]!)
      place(textRows, await this.#talker.projectText(await this.#thinker.embed(ids)))
    }
    if (mediaRows.length > 0) {
      let first = 0
      for (let row = 0; row < from; row += 1) first += plan.isMedia[row]!
      const slice = mediaHidden.slice(first * wide, (first + mediaRows.length) * wide)
      place(mediaRows, await this.#talker.projectHidden(slice))
    }
    return out
  }

  /** The nine rows before the first code: [openingRows, talker hidden]. */
  async opening(plan: TalkerPlan, speakerId: number, firstText: Float32Array): Promise<Float32Array> {
    const { begin, pad, codec } = await this.#specialRows()
    const speaker = await this.#talker.embedCodec(Int32Array.of(speakerId))
    const header = await this.text(Array.from(plan.header))
    const rows: readonly (readonly [Float32Array, Float32Array?])[] = [
      ...header.map((row) => [row] as const),
      [pad, codec.nothink],
      [pad, codec.thinkBegin],
      [pad, codec.thinkEnd],
      [pad, speaker],
      [begin, codec.pad],
      [firstText, codec.begin],
    ]
    const out = new Float32Array(openingRows * this.#hidden)
    rows.forEach(([text, code], row) => out.set(code ? sum(text, code) : text, row * this.#hidden))
    return out
  }

  #specialRows(): Promise<SpecialRows> {
    this.#special ??= this.#computeSpecialRows().catch((error: unknown) => {
      this.#special = undefined
      throw error
    })
    return this.#special
  }

  async #computeSpecialRows(): Promise<SpecialRows> {
    const config = this.#config
    const text = await this.text([config.ttsBosTokenId, config.ttsEosTokenId, config.ttsPadTokenId])
    const codecIds = [
      config.codecNothinkId,
      config.codecThinkBosId,
      config.codecThinkEosId,
      config.codecPadId,
      config.codecBosId,
    ]
    const codes = await this.#talker.embedCodec(Int32Array.from(codecIds))
    const row = (index: number): Float32Array => codes.slice(index * this.#hidden, (index + 1) * this.#hidden)
    const codec = { nothink: row(0), thinkBegin: row(1), thinkEnd: row(2), pad: row(3), begin: row(4) }
    return { begin: text[0]!, end: text[1]!, pad: text[2]!, codec }
  }
}

/** Element-wise, in float32. */
export function sum(left: Float32Array, right: Float32Array): Float32Array {
  const out = new Float32Array(left.length)
  for (let index = 0; index < left.length; index += 1) out[index] = left[index]! + right[index]!
  return out
}
