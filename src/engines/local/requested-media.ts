/**
 * The media of one exchange, seen from the engine process: their facts are here, their content comes from the server when it is asked
 * for.
 *
 * In: cards of the request, slices and contents as they arrive. Out: media as the contract has them.
 */

import type { AnyMedium } from '../../contract/index.ts'
import { type Deferred, deferred } from './deferred.ts'
import { attachArrays, type MediumCard } from './request-packing.ts'

export class RequestedMedia {
  readonly #ask: (index: number) => void
  readonly #slices = new Map<number, Uint8Array[]>()
  readonly #pending = new Map<number, Deferred<unknown>>()

  /** @param ask sends for the content of a medium. */
  constructor(ask: (index: number) => void) {
    this.#ask = ask
  }

  /** A medium for its card. */
  open(card: MediumCard): AnyMedium {
    const { index, ...known } = card
    const medium = {
      ...known,
      files: [],
      decode: (signal?: AbortSignal) => this.#content(index, signal),
      release: () => undefined,
    }
    // The server answers with what the card's kind decodes to.
    return medium as unknown as AnyMedium
  }

  slice(index: number, bytes: Uint8Array): void {
    const parts = this.#slices.get(index) ?? []
    parts.push(bytes)
    this.#slices.set(index, parts)
  }

  /** The slices of a medium are here. */
  arrive(index: number, content: unknown, bytes: number): void {
    const outcome = this.#pending.get(index)
    const parts = this.#slices.get(index) ?? []
    this.#pending.delete(index)
    this.#slices.delete(index)
    try {
      outcome?.resolve(attachArrays(content, parts, bytes))
    } catch (error) {
      outcome?.reject(error)
    }
  }

  /** The request is over: nothing more is expected. */
  close(reason: unknown): void {
    for (const outcome of this.#pending.values()) outcome.reject(reason)
    this.#pending.clear()
    this.#slices.clear()
  }

  async #content(index: number, signal: AbortSignal | undefined): Promise<unknown> {
    signal?.throwIfAborted()
    let outcome = this.#pending.get(index)
    if (!outcome) {
      outcome = deferred<unknown>()
      outcome.promise.catch(() => undefined)
      this.#pending.set(index, outcome)
      this.#ask(index)
    }
    return outcome.promise
  }
}
