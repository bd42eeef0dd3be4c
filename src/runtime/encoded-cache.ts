/**
 * LRU cache of encoder outputs by content: a medium that is sent again is not encoded again.
 *
 * In: a medium's key and its encoder output. Out: the output of an equal key. The cache has a byte limit, and its
 * memory is reclaimable: entries are evicted before a live request is refused memory.
 */

import type { MemoryBudget } from '../models/memory-budget.ts'
import type { EncodedFeature } from './prompt-features.ts'

export type EncodedMedium = Omit<EncodedFeature, 'rows'>

export class EncodedCache {
  readonly #budget: MemoryBudget | undefined
  readonly #limit: number
  /** Least recently used first. */
  readonly #media = new Map<string, EncodedMedium>()
  #bytes = 0

  /** `limit`: most bytes cached. */
  constructor(budget: MemoryBudget | undefined, limit: number) {
    this.#budget = budget
    this.#limit = limit
    budget?.addReclaimer((bytes) => this.#shrink(this.#bytes - bytes))
  }

  get bytes(): number {
    return this.#bytes
  }

  /** `scope`: the owner of the media. */
  get(scope: string, key: string): EncodedMedium | undefined {
    const name = nameOf(scope, key)
    const medium = this.#media.get(name)
    if (!medium) return undefined
    this.#media.delete(name)
    this.#media.set(name, medium)
    return medium
  }

  put(scope: string, key: string, medium: EncodedMedium): void {
    const name = nameOf(scope, key)
    const bytes = bytesOf(medium)
    if (this.#media.has(name) || bytes > this.#limit) return
    this.#shrink(this.#limit - bytes)
    if (this.#budget && !this.#budget.acquire(bytes, { spare: true })) return
    this.#media.set(name, medium)
    this.#bytes += bytes
  }

  /** Removes an output that no request will need. */
  delete(scope: string, key: string): void {
    const name = nameOf(scope, key)
    const medium = this.#media.get(name)
    if (medium) this.#drop(name, medium)
  }

  clear(): void {
    this.#shrink(0)
  }

  /** Evicts least recently used outputs until at most `bytes` remain. */
  #shrink(bytes: number): void {
    for (const [name, medium] of this.#media) {
      if (this.#bytes <= bytes) return
      this.#drop(name, medium)
    }
  }

  #drop(name: string, medium: EncodedMedium): void {
    this.#media.delete(name)
    const freed = bytesOf(medium)
    this.#bytes -= freed
    this.#budget?.release(freed)
  }
}

function nameOf(scope: string, key: string): string {
  return JSON.stringify([scope, key])
}

function bytesOf({ embeddings, deepstack = [] }: EncodedMedium): number {
  return embeddings.byteLength + deepstack.reduce((sum, layer) => sum + layer.byteLength, 0)
}
