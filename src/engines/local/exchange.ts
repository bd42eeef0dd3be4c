/**
 * The server's side of one request to the engine process: a queue of its events.
 *
 * In: the request's messages. Out: events in order, then an end or an error. The credit granted to the process limits
 * the number of queued events.
 */

import type { EngineEvent } from '../../contract/index.ts'
import { deferred } from './deferred.ts'

/** Events that the process may send ahead of the reader. */
export const fullCredit = 32
const creditBatch = 8

export class Exchange {
  readonly number: number
  readonly #sendCredit: (events: number) => void
  readonly #events: EngineEvent[] = []
  #read = 0
  #over = false
  #error: unknown
  #failure: { readonly error: unknown } | undefined
  #waiter: (() => void) | undefined
  /** Called when the process requests the content of a medium. */
  onMediumRequest: ((index: number) => void) | undefined
  #finish: () => void = () => undefined
  /** Resolves once the process has released all memory of the request. */
  readonly finished: Promise<void>

  constructor(number: number, sendCredit: (events: number) => void) {
    this.number = number
    this.#sendCredit = sendCredit
    this.finished = new Promise((resolve) => (this.#finish = resolve))
  }

  get over(): boolean {
    return this.#over
  }

  push(event: EngineEvent): void {
    this.#events.push(event)
    this.#wake()
  }

  /** The process has ended the request. The reader gets `error` after the queued events. */
  close(error?: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#error = error
    this.#finish()
    this.#wake()
  }

  /** Ends the request for its reader. The process may use memory until it reports the end. */
  fail(error: unknown): void {
    if (this.#over) return
    this.#failure ??= { error }
    this.#wake()
  }

  /**
   * The next event, or undefined at the end. Rejects with the request's error, or with the signal's reason.
   */
  async next(signal: AbortSignal): Promise<EngineEvent | undefined> {
    for (;;) {
      signal.throwIfAborted()
      const event = this.#events.shift()
      if (event) {
        this.#read += 1
        if (this.#read % creditBatch === 0 && !this.#over) this.#sendCredit(creditBatch)
        return event
      }
      if (this.#failure) throw this.#failure.error
      if (this.#over) {
        if (this.#error !== undefined) throw this.#error
        return undefined
      }
      await this.#nextChange(signal)
    }
  }

  async #nextChange(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = deferred<void>()
    const wake = (): void => resolve()
    this.#waiter = wake
    signal.addEventListener('abort', wake, { once: true })
    await promise
    signal.removeEventListener('abort', wake)
  }

  #wake(): void {
    this.#waiter?.()
    this.#waiter = undefined
  }
}
