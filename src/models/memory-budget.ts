/**
 * A byte budget: requested before anything is allocated.
 *
 * In: a limit; requests for bytes and their release. Out: yes or no. Owners of memory that can be computed again
 * (prefix cache, encoder outputs) offer it as reclaimable: it is freed before a request is refused. Pure accounting, no
 * allocation.
 */

/** Frees at least so many bytes if it can, by releasing them to the budget before it returns. */
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
   * Counts `bytes` as held if they fit, after reclaiming if they do not. Returns whether they do. `spare`: uses free
   * bytes only.
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

  /** Releases bytes and notifies those that wait for some. */
  release(bytes: number): void {
    if (bytes <= 0) return
    this.#used -= bytes
    if (this.#used < 0) throw new RangeError('more bytes were given back than taken')
    for (const listener of this.#listeners) listener()
  }

  /** Reclaimers are asked in the order they were added. */
  addReclaimer(reclaim: Reclaimer): void {
    this.#reclaims.push(reclaim)
  }

  /** Calls `listener` whenever memory was released. Dispose to stop. */
  onFreed(listener: () => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }
}
