/**
 * Whose audio is decoded next: pieces wait here, so that the vocoder's own queue, which is first come first served,
 * is never long.
 *
 * In: a piece's urgency. Out: its turn. The least seconds ahead of playback come first, replies without any audio
 * before all.
 */

export class VocoderSlots {
  readonly #limit: number
  #taken = 0
  #waiting: { readonly urgency: () => number; readonly begin: () => void }[] = []

  /** `limit`: pieces at the vocoder at once. Two keep it busy while the next is chosen. */
  constructor(limit = 2) {
    this.#limit = limit
  }

  /**
   * Resolves when it is this piece's turn; dispose the result when the piece is decoded. `urgency`: the lower, the
   * sooner; asked whenever a place is free. Rejects with the signal's reason.
   */
  async acquire(urgency: () => number, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (this.#taken < this.#limit) this.#taken += 1
    else await this.#wait(urgency, signal)
    return { [Symbol.dispose]: () => this.#release() }
  }

  #wait(urgency: () => number, signal: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const entry = {
        urgency,
        begin: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      const leave = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== entry)
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.push(entry)
    })
  }

  /** Hands the place on, to the most urgent. */
  #release(): void {
    const urgencies = this.#waiting.map(({ urgency }) => urgency())
    const next = urgencies.indexOf(Math.min(...urgencies))
    const [entry] = next < 0 ? [] : this.#waiting.splice(next, 1)
    if (entry) entry.begin()
    else this.#taken -= 1
  }
}
