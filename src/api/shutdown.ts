/**
 * Shutdown: new requests are refused, running ones finish, and those that remain after the grace period are aborted.
 */

export class Shutdown {
  readonly #cut = new AbortController()
  readonly #begun = new AbortController()
  readonly #idle: (() => void)[] = []
  #running = 0
  #stopping = false

  /** Whether new requests are refused. */
  get stopping(): boolean {
    return this.#stopping
  }

  /** Aborted when shutdown starts, for work without an end of its own. */
  get begun(): AbortSignal {
    return this.#begun.signal
  }

  /** Aborted when the grace is over. */
  get signal(): AbortSignal {
    return this.#cut.signal
  }

  get running(): number {
    return this.#running
  }

  /** Marks a request as begun; dispose it when its last byte is written. */
  enter(): Disposable {
    this.#running += 1
    let left = false
    return {
      [Symbol.dispose]: () => {
        if (left) return
        left = true
        this.#running -= 1
        if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve()
      },
    }
  }

  /**
   * Refuses new requests, waits up to `graceMs` milliseconds for running ones, then aborts them. Resolves once nothing
   * runs.
   */
  async begin(graceMs: number): Promise<void> {
    this.#stopping = true
    this.#begun.abort(new Error('the server is stopping'))
    if (this.#running === 0) return
    const idle = new Promise<void>((resolve) => this.#idle.push(resolve))
    const timer = setTimeout(() => this.#cut.abort(new Error('the server is stopping')), graceMs)
    await idle
    clearTimeout(timer)
  }
}
