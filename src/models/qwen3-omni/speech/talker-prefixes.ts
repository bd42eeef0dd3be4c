/**
 * Prefix cache of the talker: sequences of finished replies, truncated to their user turns.
 *
 * The talker's input from a user turn is its text and, for media, the thinker's hidden states, which depend on all
 * earlier tokens. So a row can be reused if the thinker's prompts are equal up to it and its talker position is the
 * same; the voice follows later. In: a sequence with its prompt. Out: the sequence with the most common rows in a
 * scope. The least recently used is evicted first.
 */

import type { MemoryBudget } from '../../memory-budget.ts'
import type { SpeechStart } from '../../speech.ts'
import type { StageSequence } from '../../stages.ts'
import { commonPrefix } from '../../token-run.ts'
import type { TalkerPlan } from './talker-prompt.ts'

type CacheKey = NonNullable<SpeechStart['cacheKey']>

interface Entry {
  readonly cacheKey: CacheKey
  readonly plan: TalkerPlan
  /** User rows in the sequence. */
  readonly rows: number
  readonly sequence: StageSequence
}

/** Most sequences in the cache. */
const MAX_ENTRIES = 64
/** Shorter sequences are not cached. */
const MIN_ROWS = 8

export class TalkerPrefixes implements Disposable {
  readonly #budget: MemoryBudget | undefined
  /** Least recently used first. */
  #entries: Entry[] = []

  constructor(budget: MemoryBudget | undefined) {
    this.#budget = budget
    budget?.addReclaimer((bytes) => this.#reclaim(bytes))
  }

  /**
   * Removes and returns the sequence with the most rows in common with a plan, truncated to them. Undefined when there
   * are too few.
   */
  remove(cacheKey: CacheKey, plan: TalkerPlan): { sequence: StageSequence; rows: number } | undefined {
    let best: { entry: Entry; rows: number } | undefined
    for (const entry of this.#entries) {
      if (entry.cacheKey.scope !== cacheKey.scope) continue
      const rows = sharedRows(entry, cacheKey, plan)
      // A sequence with few shared rows belongs to another conversation, which may continue.
      if (rows >= MIN_ROWS && 2 * rows >= entry.rows && rows > (best?.rows ?? 0)) best = { entry, rows }
    }
    if (!best) return undefined
    const { entry, rows } = best
    this.#entries = this.#entries.filter((other) => other !== entry)
    entry.sequence.truncate(rows)
    return { sequence: entry.sequence, rows }
  }

  /** Adds a sequence that starts with the first `rows` user rows of a plan, and truncates it to them. */
  add(cacheKey: CacheKey, plan: TalkerPlan, rows: number, sequence: StageSequence): void {
    if (rows < MIN_ROWS) return sequence[Symbol.dispose]()
    sequence.truncate(rows)
    this.#entries.push({ cacheKey, plan, rows, sequence })
    if (this.#entries.length > MAX_ENTRIES) this.#dropOldest()
  }

  #dropOldest(): void {
    this.#entries.shift()?.sequence[Symbol.dispose]()
  }

  #reclaim(bytes: number): void {
    if (!this.#budget) return
    const goal = this.#budget.used - bytes
    while (this.#entries.length > 0 && this.#budget.used > goal) this.#dropOldest()
  }

  /** Removes all sequences. */
  [Symbol.dispose](): void {
    while (this.#entries.length > 0) this.#dropOldest()
  }
}

function sharedRows({ cacheKey, plan, rows }: Entry, other: CacheKey, otherPlan: TalkerPlan): number {
  const common = commonPrefix(cacheKey.run, other.run)
  const most = Math.min(rows, otherPlan.userRows.length)
  let shared = 0
  while (shared < most && samePosition(plan, otherPlan, shared) && plan.userRows[shared]! < common) shared += 1
  return shared
}

function samePosition(plan: TalkerPlan, other: TalkerPlan, row: number): boolean {
  if (plan.userRows[row] !== other.userRows[row]) return false
  const [length, otherLength] = [plan.positions.length / 3, other.positions.length / 3]
  return [0, 1, 2].every(
    (axis) => plan.positions[axis * length + row] === other.positions[axis * otherLength + row],
  )
}
