/**
 * The talker's input rows, all of the thinker's width: sums of thinker embeddings, thinker hidden states and codec
 * embeddings.
 *
 * In: ids and hidden states. Out: rows [thinker hidden] each. Those of special tokens are computed once per checkpoint.
 * Reference: transformers `Qwen2_5OmniForConditionalGeneration.generate`,
 * `Qwen2_5OmniTalkerForConditionalGeneration.forward`.
 */

import type { ThinkerStage } from '../../stages.ts'
import type { SpeechIds } from '../config-types.ts'
import type { Talker } from '../talker.ts'

interface SpecialRows {
  /** Thinker embeddings of the rows after the text. */
  readonly end: Float32Array
  readonly pad: Float32Array
  /** Codec embeddings. */
  readonly codecPad: Float32Array
  readonly codecBegin: Float32Array
}

export class TalkerRows {
  readonly #thinker: ThinkerStage
  readonly #talker: Talker
  readonly #ids: SpeechIds
  readonly #media: ReadonlySet<number>
  #special: Promise<SpecialRows> | undefined

  constructor(thinker: ThinkerStage, talker: Talker, ids: SpeechIds) {
    this.#thinker = thinker
    this.#talker = talker
    this.#ids = ids
    this.#media = new Set(ids.media)
  }

  get width(): number {
    return this.#thinker.hiddenSize
  }

  /**
   * Prompt rows: sums of embedding and hidden state; for media only the hidden state. `hidden`: [ids, thinker hidden],
   * modified in place.
   */
  async prompt(ids: Int32Array, hidden: Float32Array): Promise<Float32Array> {
    const embeddings = await this.#thinker.embed(ids)
    for (const [row, id] of ids.entries()) {
      if (this.#media.has(id)) continue
      for (let i = row * this.width; i < (row + 1) * this.width; i += 1) hidden[i]! += embeddings[i]!
    }
    return hidden
  }

  /** One row per spoken token, including its hidden state if there is one. */
  async text(
    tokens: readonly { readonly id: number; readonly hidden: Float32Array | undefined }[],
  ): Promise<Float32Array[]> {
    if (tokens.length === 0) return []
    const embeddings = await this.#thinker.embed(Int32Array.from(tokens, ({ id }) => id))
    return tokens.map(({ hidden }, row) => {
      const embedding = embeddings.slice(row * this.width, (row + 1) * this.width)
      return hidden ? sum(embedding, hidden) : embedding
    })
  }

  /** The two rows before the first code: the voice, then the first row of text. */
  async opening(voiceToken: number, firstText: Float32Array): Promise<Float32Array> {
    const { codecPad, codecBegin } = await this.#specialRows()
    const voice = await this.#thinker.embed(Int32Array.of(voiceToken))
    const rows = new Float32Array(2 * this.width)
    rows.set(sum(voice, codecPad))
    rows.set(sum(firstText, codecBegin), this.width)
    return rows
  }

  /** Rows that follow codes: each code's embedding and the text row of its step. */
  async codes(codes: readonly number[], texts: readonly Float32Array[]): Promise<Float32Array[]> {
    const embeddings = await this.#talker.embed(Int32Array.from(codes))
    return texts.map((text, row) => sum(embeddings.subarray(row * this.width, (row + 1) * this.width), text))
  }

  /** The row at the end of the text, and the row used after it. */
  async afterText(): Promise<{ end: Float32Array; pad: Float32Array }> {
    const { end, pad } = await this.#specialRows()
    return { end, pad }
  }

  #specialRows(): Promise<SpecialRows> {
    this.#special ??= this.#computeSpecialRows().catch((error: unknown) => {
      this.#special = undefined
      throw error
    })
    return this.#special
  }

  async #computeSpecialRows(): Promise<SpecialRows> {
    const { textEnd, textPad, codecPad, codecBegin } = this.#ids
    const texts = await this.#thinker.embed(Int32Array.of(textEnd, textPad))
    const codes = await this.#talker.embed(Int32Array.of(codecPad, codecBegin))
    return {
      end: texts.slice(0, this.width),
      pad: texts.slice(this.width),
      codecPad: codes.slice(0, this.width),
      codecBegin: codes.slice(this.width),
    }
  }
}

/** Element-wise, in float32. */
function sum(left: Float32Array, right: Float32Array): Float32Array {
  const out = new Float32Array(left.length)
  for (let index = 0; index < left.length; index += 1) out[index] = left[index]! + right[index]!
  return out
}
