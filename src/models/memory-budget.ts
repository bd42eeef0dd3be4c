/**
 * A memory budget in bytes. Bytes are acquired before memory is allocated.
 *
 * In: a limit; acquisitions and releases. Out: whether an acquisition fits. Owners of memory that can be recomputed
 * (prefix cache, encoder outputs) register reclaimers, which free memory before an acquisition fails. The budget only
 * counts; it does not allocate.
 */

/** Releases at least `bytes` bytes to the budget, if possible, before it returns. */
export type Reclaimer = (bytes: number) => void

export class MemoryBudget {
  /** Bytes. */
  readonly limit: number
  #used = 0
  readonly #reclaims: Reclaimer[] = []
  readonly #listeners = new Set<() => void>()

  constructor(limit: number) {
    if (!(limit >= 0)) throw new RangeError(`a memory budget needs a limit of at least 0 bytes, got ${limit}`)
    this.limit = limit
  }

  get used(): number {
    return this.#used
  }

  get free(): number {
    return Math.max(0, this.limit - this.#used)
  }

  /**
   * Acquires `bytes` if they fit, and reclaims memory if they do not. Returns whether they fit. `spare`: without
   * reclaiming.
   */
  acquire(bytes: number, { spare = false }: { readonly spare?: boolean } = {}): boolean {
    if (bytes > this.limit) return false
    for (const reclaim of this.#reclaims) {
      const short = this.#used + bytes - this.limit
      if (short <= 0 || spare) break
      reclaim(short)
    }
    if (this.#used + bytes > this.limit) return false
    this.#used += bytes
    return true
  }

  /** Releases bytes, and calls the listeners. */
  release(bytes: number): void {
    if (bytes <= 0) return
    this.#used -= bytes
    if (this.#used < 0) throw new RangeError('more bytes were released than acquired')
    for (const listener of this.#listeners) listener()
  }

  /** Adds a reclaimer. Reclaimers are called in the order in which they were added. */
  addReclaimer(reclaim: Reclaimer): void {
    this.#reclaims.push(reclaim)
  }

  /** Calls `listener` after each release, until the result is disposed. */
  onFreed(listener: () => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }
}
