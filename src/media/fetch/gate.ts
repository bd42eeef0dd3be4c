/** Limits the number of concurrent tasks. Further ones wait in order. */

import { abortedError } from '../errors.ts'

export class Gate {
  active = 0
  readonly #size: number
  readonly #queue: (() => void)[] = []

  constructor(size: number) {
    this.#size = size
  }

  async enter(signal: AbortSignal): Promise<Disposable> {
    if (this.active >= this.#size) {
      await new Promise<void>((resolve, reject) => {
        const go = () => {
          signal.removeEventListener('abort', leave)
          resolve()
        }
        const leave = () => {
          this.#queue.splice(this.#queue.indexOf(go), 1)
          reject(abortedError(signal))
        }
        this.#queue.push(go)
        signal.addEventListener('abort', leave, { once: true })
      })
    } else this.active += 1
    return {
      [Symbol.dispose]: () => {
        const next = this.#queue.shift()
        if (next === undefined) this.active -= 1
        else next() // the slot passes on
      },
    }
  }
}
