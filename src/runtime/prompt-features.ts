/**
 * Encoder outputs of a whole prompt, sliced into chunks of prefill.
 *
 * In: each medium's embeddings and the prompt rows they replace. Rows of different media may interleave (audio of a
 * video). Out: {@link InjectedFeatures}, whose rows count from the start of the chunk, ascending. Pure.
 */

import type { InjectedFeatures } from '../models/stages.ts'

export interface EncodedFeature {
  /** Prompt rows, ascending. */
  readonly rows: Int32Array
  /** [rows.length, hidden] */
  readonly embeddings: Float32Array
  /** One [rows.length, hidden] per early layer; absent for audio. */
  readonly deepstack?: readonly Float32Array[]
}

interface Place {
  readonly row: number
  readonly feature: EncodedFeature
  readonly index: number
}

export class PromptFeatures {
  readonly #places: readonly Place[]
  readonly #hidden: number
  readonly #layers: number

  /** @param hidden width of the thinker's hidden states. Throws when an encoder output does not match its rows. */
  constructor(features: readonly EncodedFeature[], hidden: number) {
    this.#hidden = hidden
    this.#layers = Math.max(0, ...features.map(({ deepstack }) => deepstack?.length ?? 0))
    for (const { rows, embeddings } of features) {
      if (embeddings.length !== rows.length * hidden)
        throw new Error(
          `An encoder returned ${embeddings.length / hidden} rows for a medium with ${rows.length} rows in the prompt.`,
        )
    }
    this.#places = features
      .flatMap((feature) => Array.from(feature.rows, (row, index): Place => ({ row, feature, index })))
      .toSorted((left, right) => left.row - right.row)
  }

  /** The features of rows [from, until), or undefined when there are none. */
  slice(from: number, until: number): InjectedFeatures | undefined {
    const places = this.#places.filter(({ row }) => row >= from && row < until)
    if (places.length === 0) return undefined
    const hidden = this.#hidden
    const embeddings = new Float32Array(places.length * hidden)
    const deepstack = Array.from({ length: this.#layers }, () => new Float32Array(places.length * hidden))
    places.forEach(({ feature, index }, at) => {
      embeddings.set(feature.embeddings.subarray(index * hidden, (index + 1) * hidden), at * hidden)
      feature.deepstack?.forEach((layer, number) =>
        deepstack[number]!.set(layer.subarray(index * hidden, (index + 1) * hidden), at * hidden),
      )
    })
    return {
      rows: Int32Array.from(places, ({ row }) => row - from),
      embeddings,
      ...(deepstack.length > 0 && places.some(({ feature }) => feature.deepstack) && { deepstack }),
    }
  }
}
