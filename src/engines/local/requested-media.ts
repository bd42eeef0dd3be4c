/**
 * The engine process's side of a request's media: their facts are known, and their content is requested from the
 * server.
 *
 * In: handles of the request, and contents and slices as they arrive. Out: media of the engine contract.
 */

import type { AnyMedium } from '../../contract/index.ts'
import { type Deferred, deferred } from './deferred.ts'
import { ArrivingArrays, type MediumHandle } from './request-packing.ts'

export class RequestedMedia {
  readonly #ask: (index: number) => void
  readonly #arriving = new Map<number, ArrivingArrays>()
  readonly #pending = new Map<number, Deferred<unknown>>()

  /** @param ask requests the content of a medium. */
  constructor(ask: (index: number) => void) {
    this.#ask = ask
  }

  /** The medium of a handle. Its content is requested when it is decoded. */
  open(handle: MediumHandle): AnyMedium {
    const { index, ...known } = handle
    const medium = {
      ...known,
      files: [],
      decode: (signal?: AbortSignal) => this.#content(index, signal),
      release: () => undefined,
    }
    // The server answers with the decoded form of the handle's kind.
    return medium as unknown as AnyMedium
  }

  /** Receives a medium. `content` has stubs for its arrays, whose slices follow. */
  arrive(index: number, content: unknown): void {
    if (!this.#pending.has(index)) return
    try {
      const arriving = new ArrivingArrays(content)
      if (arriving.complete) this.#settle(index)?.resolve(arriving.value)
      else this.#arriving.set(index, arriving)
    } catch (error) {
      // The allocation failed.
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

  /** Rejects all pending contents, because the request has ended. */
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
