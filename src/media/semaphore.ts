/**
 * A counting semaphore, for memory in bytes and for concurrent tasks.
 *
 * Requests that do not fit wait in order. A request for more than the whole capacity waits until nothing else is held.
 */

import { abortedError } from './errors.ts'

interface Waiting {
  readonly amount: number
  readonly start: () => void
}

export class Semaphore {
  readonly #capacity: number
  readonly #queue: Waiting[] = []
  #held = 0

  /** @param capacity of all grants together */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** The amount that is granted now. */
  get held(): number {
    return this.#held
  }

  /** Waits for `amount`; disposing the grant returns it. @throws MediaError `aborted` */
  async acquire(amount: number, signal: AbortSignal): Promise<Disposable> {
    if (signal.aborted) throw abortedError(signal)
    if (this.#queue.length > 0 || !this.#fits(amount)) {
      await new Promise<void>((resolve, reject) => {
        const waiting: Waiting = {
          amount,
          start: () => {
            signal.removeEventListener('abort', cancel)
            resolve()
          },
        }
        const cancel = (): void => {
          this.#queue.splice(this.#queue.indexOf(waiting), 1)
          this.#dispatch()
          reject(abortedError(signal))
        }
        this.#queue.push(waiting)
        signal.addEventListener('abort', cancel, { once: true })
      })
    } else this.#held += amount
    let open = true
    return {
      [Symbol.dispose]: () => {
        if (!open) return
        open = false
        this.#held -= amount
        this.#dispatch()
      },
    }
  }

  #fits(amount: number): boolean {
    return this.#held === 0 || this.#held + amount <= this.#capacity
  }

  #dispatch(): void {
    for (let next = this.#queue[0]; next && this.#fits(next.amount); next = this.#queue[0]) {
      this.#queue.shift()
      this.#held += next.amount
      next.start()
    }
  }
}
