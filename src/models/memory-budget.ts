/**
 * Bytes that may be held, and who holds them: asked before anything is allocated.
 *
 * In: a limit; takers that ask for bytes and give them back. Out: yes or no. Who keeps memory that could be made again (prefix cache,
 * encoder outputs) offers it as reclaimable: it gives way before anyone is refused. Pure accounting; it allocates nothing.
 */

/** Frees at least so many bytes if it can, by giving them back to the budget before it returns. */
export type Reclaim = (bytes: number) => void

export class MemoryBudget {
  /** Bytes. */
  readonly limit: number
  #used = 0
  readonly #reclaims: Reclaim[] = []
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

  /** Counts `bytes` as held if they fit, after reclaiming if they do not. Returns whether they do. `spare`: takes what is free only. */
  take(bytes: number, { spare = false }: { readonly spare?: boolean } = {}): boolean {
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

  /** Gives bytes back and wakes who waits for some. */
  give(bytes: number): void {
    if (bytes <= 0) return
    this.#used -= bytes
    if (this.#used < 0) throw new RangeError('more bytes were given back than taken')
    for (const listener of this.#listeners) listener()
  }

  /** Reclaimers are asked in the order they were added. */
  addReclaim(reclaim: Reclaim): void {
    this.#reclaims.push(reclaim)
  }

  /** Calls `listener` whenever memory came back. Dispose to stop. */
  onFreed(listener: () => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }
}
