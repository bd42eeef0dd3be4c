/**
 * Talker sequences of finished replies, cut to their prefilled user turns, for the conversation's next spoken reply.
 *
 * The talker's input from a user turn is its text and, for media, the thinker's hidden states, which depend on
 * everything before them. So a row is shared where the thinker's prompts are equal up to it and its talker position is
 * the same; the voice comes after. In: a sequence with its prompt. Out: one to continue from, within a scope, least
 * recently used evicted.
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

/** Most sequences kept. */
const MAX_ENTRIES = 64
/** Below this a sequence is not worth keeping. */
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
   * Takes out the sequence that shares most rows with a plan, cut to them; undefined where too little would be shared.
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

  /** Keeps a sequence that has prefilled the first `rows` user rows of a plan, and whatever came after. */
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

  /** Disposes all of them. */
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
