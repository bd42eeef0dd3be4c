/**
 * The bounded request queue of the engines: a number of requests run, further ones wait, and all others are refused.
 */
import { errors } from '../protocol/index.ts'

export interface RequestQueueOptions {
  readonly maxActive: number
  readonly maxWaiting: number
}

interface Waiter {
  readonly admit: () => void
}

export class RequestQueue {
  readonly #options: RequestQueueOptions
  readonly #line: Waiter[] = []
  #active = 0

  constructor(options: RequestQueueOptions) {
    this.#options = options
  }

  get active(): number {
    return this.#active
  }

  get waiting(): number {
    return this.#line.length
  }

  /**
   * Waits for a slot, in order of arrival. Dispose the result once to release it.
   * @throws ApiError 503 when the queue is full; the signal's reason once aborted, leaving the queue.
   */
  async enter(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (this.#active < this.#options.maxActive) {
      this.#active += 1
      return this.#slot()
    }
    if (this.#line.length >= this.#options.maxWaiting) throw errors.overloaded()
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        admit: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      const leave = (): void => {
        const at = this.#line.indexOf(waiter)
        if (at >= 0) this.#line.splice(at, 1)
        reject(signal.reason)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#line.push(waiter)
    })
    return this.#slot()
  }

  /** The slot passes to the first waiting request without becoming free in between. */
  #slot(): Disposable {
    let released = false
    return {
      [Symbol.dispose]: () => {
        if (released) return
        released = true
        const next = this.#line.shift()
        if (next === undefined) this.#active -= 1
        else next.admit()
      },
    }
  }
}
