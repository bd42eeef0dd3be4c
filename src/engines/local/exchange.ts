/**
 * One request's events on their way from the engine process to the reader.
 *
 * In: messages of its exchange. Out: events in order, then an end or an error. Holds at most as many events as the
 * credit it gave.
 */

import type { EngineEvent } from '../../contract/index.ts'
import { deferred } from './deferred.ts'

/** Events the process may send ahead of the reader. */
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
  /** The process asks for the content of a medium. */
  onWant: ((index: number) => void) | undefined
  #finish: () => void = () => undefined
  /** Resolves when the process holds nothing of it any more. */
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

  /** The process is done with it. With an error, the reader gets that after the events that have arrived. */
  close(error?: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#error = error
    this.#finish()
    this.#wake()
  }

  /** Ends it for its reader with `error`; the process may still hold memory until it reports otherwise. */
  fail(error: unknown): void {
    if (this.#over) return
    this.#failure ??= { error }
    this.#wake()
  }

  /**
   * The next event; undefined at the end. Rejects with the error it ended with, or the signal's reason once aborted.
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
      await this.#somethingNew(signal)
    }
  }

  async #somethingNew(signal: AbortSignal): Promise<void> {
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
