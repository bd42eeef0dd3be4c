/**
 * A memory budget for all decoded media, in bytes. A request that does not fit waits in order; one that exceeds the
 * whole budget waits until no other memory is in use.
 */

import { abortedError } from './errors.ts'

interface Waiting {
  readonly bytes: number
  readonly go: () => void
}

export class MemoryBudget {
  readonly #most: number
  readonly #queue: Waiting[] = []
  #held = 0

  /** @param mostBytes of all grants together. */
  constructor(mostBytes: number) {
    this.#most = mostBytes
  }

  /** Bytes granted now. */
  get held(): number {
    return this.#held
  }

  /** Waits for memory; disposing the grant returns it. Rejects with a {@link MediaError} `aborted`. */
  async acquire(bytes: number, signal: AbortSignal): Promise<Disposable> {
    if (signal.aborted) throw abortedError(signal)
    if (this.#queue.length > 0 || !this.#fits(bytes)) {
      await new Promise<void>((resolve, reject) => {
        const waiting: Waiting = {
          bytes,
          go: () => {
            signal.removeEventListener('abort', leave)
            resolve()
          },
        }
        const leave = (): void => {
          this.#queue.splice(this.#queue.indexOf(waiting), 1)
          this.#dispatch()
          reject(abortedError(signal))
        }
        this.#queue.push(waiting)
        signal.addEventListener('abort', leave, { once: true })
      })
    } else this.#held += bytes
    let open = true
    return {
      [Symbol.dispose]: () => {
        if (!open) return
        open = false
        this.#held -= bytes
        this.#dispatch()
      },
    }
  }

  #fits(bytes: number): boolean {
    return this.#held === 0 || this.#held + bytes <= this.#most
  }

  #dispatch(): void {
    for (let next = this.#queue[0]; next && this.#fits(next.bytes); next = this.#queue[0]) {
      this.#queue.shift()
      this.#held += next.bytes
      next.go()
    }
  }
}
