/**
 * The media of one exchange, seen from the engine process: their facts are here, their content comes from the server on
 * request.
 *
 * In: cards of the request, slices and contents as they arrive. Out: media as the contract has them.
 */

import type { AnyMedium } from '../../contract/index.ts'
import { type Deferred, deferred } from './deferred.ts'
import { ArrivingArrays, type MediumCard } from './request-packing.ts'

export class RequestedMedia {
  readonly #ask: (index: number) => void
  readonly #arriving = new Map<number, ArrivingArrays>()
  readonly #pending = new Map<number, Deferred<unknown>>()

  /** @param ask requests the content of a medium. */
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

  /** A medium arrives: `content` has stubs for its arrays, whose slices follow. */
  arrive(index: number, content: unknown): void {
    if (!this.#pending.has(index)) return
    try {
      const arriving = new ArrivingArrays(content)
      if (arriving.complete) this.#settle(index)?.resolve(arriving.value)
      else this.#arriving.set(index, arriving)
    } catch (error) {
      // There is no memory for it.
      this.#settle(index)?.reject(error)
    }
  }

  slice(index: number, bytes: Uint8Array): void {
    const arriving = this.#arriving.get(index)
    if (!arriving) return
    try {
      arriving.write(bytes)
      if (arriving.complete) this.#settle(index)?.resolve(arriving.value)
    } catch (error) {
      this.#settle(index)?.reject(error)
    }
  }

  #settle(index: number): Deferred<unknown> | undefined {
    const outcome = this.#pending.get(index)
    this.#pending.delete(index)
    this.#arriving.delete(index)
    return outcome
  }

  /** The request is over: nothing more is expected. */
  close(reason: unknown): void {
    for (const outcome of this.#pending.values()) outcome.reject(reason)
    this.#pending.clear()
    this.#arriving.clear()
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
