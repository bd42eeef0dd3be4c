/**
 * Sequences of finished requests, kept for the next turn of their conversation.
 *
 * In: a sequence with its cache's content. Out: the one that shares the longest prefix with a prompt. The least
 * recently used are evicted first, and before any live request is refused memory. A scope's prefixes serve requests of
 * that scope only; shared prefixes, which are the server's own, serve all.
 */

import type { MemoryBudget } from '../models/memory-budget.ts'
import type { StageSequence } from '../models/stages.ts'
import { commonPrefix, type TokenRun } from '../models/token-run.ts'

/** Hidden states of the thinker by row, each [thinker hidden]. */
export type HiddenRows = ReadonlyMap<number, Float32Array>

export interface KeptPrefix {
  /** Undefined: shared by all. */
  readonly scope: string | undefined
  readonly run: TokenRun
  readonly sequence: StageSequence
  /** The speech's input from the run's rows, as far as it was computed. */
  readonly hidden: HiddenRows
}

export interface PrefixMatch {
  readonly prefix: KeptPrefix
  /** Tokens in common. */
  readonly length: number
}

interface Entry {
  readonly prefix: KeptPrefix
  /** Bytes of hidden states taken from the budget. */
  readonly bytes: number
}

/** Below this, computing the tokens again costs less than managing a copy. */
const SHORTEST = 8

export class PrefixCache implements Disposable {
  readonly #budget: MemoryBudget | undefined
  readonly #limit: number
  /** Least recently used first. */
  #entries: Entry[] = []
  /** Not evicted while it is copied from. */
  #pinned: KeptPrefix | undefined

  /** `limit`: most prefixes kept besides the shared ones. 0 keeps none. */
  constructor(budget: MemoryBudget | undefined, limit: number) {
    this.#budget = budget
    this.#limit = limit
    budget?.addReclaim((bytes) => this.#reclaim(bytes))
  }

  get size(): number {
    return this.#entries.length
  }

  /** Tokens held in all. */
  get tokens(): number {
    return this.#entries.reduce((sum, { prefix }) => sum + prefix.run.tokenIds.length, 0)
  }

  /**
   * The best prefix for a run: `usable` limits the common part to what may be reused. Undefined when none is worth it.
   * `scope` undefined finds shared ones only.
   */
  find(
    run: TokenRun,
    scope: string | undefined,
    usable: (prefix: KeptPrefix, common: number) => number,
  ): PrefixMatch | undefined {
    let best: PrefixMatch | undefined
    for (const { prefix } of this.#entries) {
      if (prefix.scope !== undefined && prefix.scope !== scope) continue
      const length = usable(prefix, commonPrefix(prefix.run, run))
      if (length >= SHORTEST && length > (best?.length ?? 0)) best = { prefix, length }
    }
    return best
  }

  /** Keeps a prefix; the cache owns its sequence from here on. Those of the scope that it continues are dropped. */
  keep(prefix: KeptPrefix): void {
    const { run, scope, sequence } = prefix
    const length = run.tokenIds.length
    if (length < SHORTEST || this.#limit === 0) return sequence[Symbol.dispose]()
    this.#dropWhere((other) => other.scope === scope && commonPrefix(other.run, run) === other.run.tokenIds.length)
    const bytes = bytesOf(prefix.hidden)
    const fits = bytes === 0 || this.#budget === undefined || this.#budget.take(bytes)
    this.#entries.push(fits ? { prefix, bytes } : { prefix: { ...prefix, hidden: new Map() }, bytes: 0 })
    while (this.#own.length > this.#limit) this.#drop(this.#own[0]!.prefix)
  }

  /** Takes a prefix out: the caller owns its sequence from here on. */
  take(prefix: KeptPrefix): void {
    const at = this.#entries.findIndex((entry) => entry.prefix === prefix)
    if (at < 0) throw new Error('The prefix is not kept any more.')
    const [entry] = this.#entries.splice(at, 1)
    if (entry) this.#giveBack(entry)
  }

  /** Drops all prefixes of a scope. */
  forget(scope: string): void {
    this.#dropWhere((prefix) => prefix.scope === scope)
  }

  /** Marks it as just used and protects it from eviction while `work` reads it. */
  async use<T>(prefix: KeptPrefix, work: () => Promise<T>): Promise<T> {
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
  get #own(): readonly Entry[] {
    return this.#entries.filter(({ prefix }) => prefix.scope !== undefined)
  }

  #dropWhere(unwanted: (prefix: KeptPrefix) => boolean): void {
    for (const { prefix } of this.#entries.filter((entry) => unwanted(entry.prefix))) this.#drop(prefix)
  }

  #drop(prefix: KeptPrefix): void {
    this.take(prefix)
    prefix.sequence[Symbol.dispose]()
  }

  #giveBack({ bytes }: Entry): void {
    this.#budget?.give(bytes)
  }

  #reclaim(bytes: number): void {
    const budget = this.#budget
    if (!budget) return
    const goal = budget.used - bytes
    for (const { prefix } of this.#own) {
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
