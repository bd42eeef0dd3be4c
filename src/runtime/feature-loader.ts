/**
 * Computes encoder inputs outside the loop, one medium ahead of the encoder. So a long spectrogram delays no other
 * request, and each request has at most two inputs in memory.
 *
 * In: the features that a request needs, in order. Out: their encoder inputs, in the same order.
 */

import type { PromptFeature } from '../prompt/prepared-prompt.ts'

/** A feature with its encoder's input. */
export type LoadedFeature = {
  [Type in PromptFeature['type']]: {
    readonly feature: Extract<PromptFeature, { readonly type: Type }>
    readonly type: Type
    readonly input: Awaited<ReturnType<Extract<PromptFeature, { readonly type: Type }>['load']>>
  }
}[PromptFeature['type']]

export class FeatureLoader {
  readonly #features: PromptFeature[]
  readonly #signal: AbortSignal
  readonly #onChange: () => void
  #loaded: LoadedFeature | undefined
  #loading = false
  failure: unknown

  /** `onChange` is called when an input is ready, or could not be computed. */
  constructor(features: readonly PromptFeature[], signal: AbortSignal, onChange: () => void) {
    this.#features = [...features]
    this.#signal = signal
    this.#onChange = onChange
    void this.#next()
  }

  /** Whether all inputs have been computed: no medium of the request is invalid. */
  get complete(): boolean {
    return this.#features.length === 0 && !this.#loading && this.failure === undefined
  }

  get ready(): boolean {
    return this.#loaded !== undefined
  }

  /** Removes and returns the next input. Call only when {@link ready}. */
  take(): LoadedFeature {
    const loaded = this.#loaded
    if (!loaded) throw new Error('No input is ready.')
    this.#loaded = undefined
    void this.#next()
    return loaded
  }

  async #next(): Promise<void> {
    const feature = this.#features.shift()
    if (!feature) return
    this.#loading = true
    try {
      this.#loaded = await loadFeature(feature, this.#signal)
    } catch (error) {
      this.failure = error
    }
    this.#loading = false
    this.#onChange()
  }
}

export async function loadFeature(feature: PromptFeature, signal: AbortSignal): Promise<LoadedFeature> {
  switch (feature.type) {
    case 'audio':
      return { type: 'audio', feature, input: await feature.load(signal) }
    case 'vision':
      return { type: 'vision', feature, input: await feature.load(signal) }
    default:
      return feature satisfies never
  }
}
