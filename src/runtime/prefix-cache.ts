/**
 * Prefix cache: KV caches of finished requests, for the next turn of their conversation.
 *
 * In: a sequence and the tokens in it. Out: the sequence that shares the longest prefix with a prompt. The least
 * recently used is evicted first, and before a live request is refused memory. Prefixes are reused only within their
 * scope; shared prefixes, which contain nothing of a caller, are reused by all.
 */

import type { MemoryBudget } from '../models/memory-budget.ts'
import type { StageSequence } from '../models/stages.ts'
import { commonPrefix, type TokenRun } from '../models/token-run.ts'

/** Hidden states of the thinker by row, each [thinker hidden]. */
export type HiddenRows = ReadonlyMap<number, Float32Array>

export interface CachedPrefix {
  /** Undefined: shared by all. */
  readonly scope: string | undefined
  readonly run: TokenRun
  readonly sequence: StageSequence
  /** Hidden states of the run's rows that speech may need, as far as they were computed. */
  readonly hidden: HiddenRows
}

export interface PrefixMatch {
  readonly prefix: CachedPrefix
  /** Tokens that can be reused. */
  readonly length: number
}

interface Entry {
  readonly prefix: CachedPrefix
  /** Bytes of hidden states acquired from the budget. */
  readonly bytes: number
}

/** Shorter prefixes are not cached: a recomputation costs less than a copy. */
const MIN_TOKENS = 8

export class PrefixCache implements Disposable {
  readonly #budget: MemoryBudget | undefined
  readonly #limit: number
  /** Least recently used first. */
  #entries: Entry[] = []
  /** Protected from eviction while it is copied. */
  #pinned: CachedPrefix | undefined

  /** `limit`: most prefixes cached besides the shared ones; 0 disables the cache. */
  constructor(budget: MemoryBudget | undefined, limit: number) {
    this.#budget = budget
    this.#limit = limit
    budget?.addReclaimer((bytes) => this.#reclaim(bytes))
  }

  get size(): number {
    return this.#entries.length
  }

  /** Tokens of all prefixes. */
  get tokens(): number {
    return this.#entries.reduce((sum, { prefix }) => sum + prefix.run.tokenIds.length, 0)
  }

  /**
   * The longest prefix for a run. `usable` limits the common tokens to those that can be reused. Undefined when no
   * prefix is long enough. Without a `scope`, only shared prefixes are found.
   */
  find(
    run: TokenRun,
    scope: string | undefined,
    usable: (prefix: CachedPrefix, common: number) => number,
  ): PrefixMatch | undefined {
    let best: PrefixMatch | undefined
    for (const { prefix } of this.#entries) {
      if (prefix.scope !== undefined && prefix.scope !== scope) continue
      const length = usable(prefix, commonPrefix(prefix.run, run))
      if (length >= MIN_TOKENS && length > (best?.length ?? 0)) best = { prefix, length }
    }
    return best
  }

  /** Adds a prefix and takes ownership of its sequence. Drops prefixes of the same scope that it extends. */
  add(prefix: CachedPrefix): void {
    const { run, scope, sequence } = prefix
    const length = run.tokenIds.length
    if (length < MIN_TOKENS || this.#limit === 0) return sequence[Symbol.dispose]()
    this.#dropWhere((other) => other.scope === scope && commonPrefix(other.run, run) === other.run.tokenIds.length)
    const bytes = bytesOf(prefix.hidden)
    const fits = bytes === 0 || this.#budget === undefined || this.#budget.acquire(bytes)
    this.#entries.push(fits ? { prefix, bytes } : { prefix: { ...prefix, hidden: new Map() }, bytes: 0 })
    while (this.#scoped.length > this.#limit) this.#drop(this.#scoped[0]!.prefix)
  }

  /** Removes a prefix. The caller owns its sequence afterwards. */
  remove(prefix: CachedPrefix): void {
    const at = this.#entries.findIndex((entry) => entry.prefix === prefix)
    if (at < 0) throw new Error('The prefix is no longer in the cache.')
    const [entry] = this.#entries.splice(at, 1)
    if (entry) this.#releaseBytes(entry)
  }

  /** Evicts all prefixes of a scope. */
  evictScope(scope: string): void {
    this.#dropWhere((prefix) => prefix.scope === scope)
  }

  /** Marks a prefix as most recently used, and protects it from eviction while `work` reads it. */
  async withPinned<T>(prefix: CachedPrefix, work: () => Promise<T>): Promise<T> {
    const at = this.#entries.findIndex((entry) => entry.prefix === prefix)
    if (at >= 0) this.#entries.push(...this.#entries.splice(at, 1))
    this.#pinned = prefix
    try {
      return await work()
    } finally {
      this.#pinned = undefined
    }
  }

  /** Entries with a scope, least recently used first. */
  get #scoped(): readonly Entry[] {
    return this.#entries.filter(({ prefix }) => prefix.scope !== undefined)
  }

  #dropWhere(unwanted: (prefix: CachedPrefix) => boolean): void {
    for (const { prefix } of this.#entries.filter((entry) => unwanted(entry.prefix))) this.#drop(prefix)
  }

  #drop(prefix: CachedPrefix): void {
    this.remove(prefix)
    prefix.sequence[Symbol.dispose]()
  }

  #releaseBytes({ bytes }: Entry): void {
    this.#budget?.release(bytes)
  }

  #reclaim(bytes: number): void {
    const budget = this.#budget
    if (!budget) return
    const goal = budget.used - bytes
    for (const { prefix } of this.#scoped) {
      if (budget.used <= goal) return
      if (prefix !== this.#pinned) this.#drop(prefix)
    }
  }

  [Symbol.dispose](): void {
    this.#dropWhere(() => true)
  }
}

function bytesOf(hidden: HiddenRows): number {
  let bytes = 0
  for (const row of hidden.values()) bytes += row.byteLength
  return bytes
}
