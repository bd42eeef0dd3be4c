/**
 * Priority queue in front of the vocoder, whose own queue is first come, first served.
 *
 * In: the urgency of a reply's next piece. Out: a slot. The lowest value comes first: a reply without audio yet, then
 * the one with the fewest seconds ahead of playback.
 */

export class VocoderSlots {
  readonly #limit: number
  #used = 0
  #waiting: { readonly urgency: () => number; readonly begin: () => void }[] = []

  /** `limit`: pieces at the vocoder at the same time. With two, it stays busy while the next is chosen. */
  constructor(limit = 2) {
    this.#limit = limit
  }

  /**
   * Acquires a slot; dispose the result after decoding. `urgency` is evaluated whenever a slot is free, and the lowest
   * value comes first. Rejects with the signal's reason.
   */
  async acquire(urgency: () => number, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (this.#used < this.#limit) this.#used += 1
    else await this.#wait(urgency, signal)
    return { [Symbol.dispose]: () => this.#release() }
  }

  #wait(urgency: () => number, signal: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const entry = {
        urgency,
        begin: () => {
          signal.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      const onAbort = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== entry)
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(entry)
    })
  }

  /** Passes the slot to the most urgent waiting piece. */
  #release(): void {
    const urgencies = this.#waiting.map(({ urgency }) => urgency())
    const next = urgencies.indexOf(Math.min(...urgencies))
    const [entry] = next < 0 ? [] : this.#waiting.splice(next, 1)
    if (entry) entry.begin()
    else this.#used -= 1
  }
}
