import { describe, expect, it } from 'vitest'

import { MemoryBudget } from '../models/memory-budget.ts'
import type { StageSequence } from '../models/stages.ts'
import { EncodedCache } from './encoded-cache.ts'
import { type CachedPrefix, PrefixCache } from './prefix-cache.ts'
import type { TokenRun } from '../models/token-run.ts'

const run = (...ids: number[]): TokenRun => ({
  tokenIds: Int32Array.from(ids),
  positions: new Float32Array(3 * ids.length),
  media: [],
})
const count = (from: number, until: number): number[] => Array.from({ length: until - from }, (_, i) => from + i)

/** A sequence that holds a byte a token of a budget. */
function prefix(
  scope: string | undefined,
  ids: readonly number[],
  { budget, hidden = new Map() }: { budget?: MemoryBudget; hidden?: Map<number, Float32Array> } = {},
): CachedPrefix & { readonly gone: () => boolean } {
  let gone = false
  budget?.acquire(ids.length)
  const sequence = {
    length: ids.length,
    [Symbol.dispose]() {
      if (!gone) budget?.release(ids.length)
      gone = true
    },
  } as unknown as StageSequence
  return { scope, run: run(...ids), sequence, hidden, gone: () => gone }
}

const all = (_: CachedPrefix, common: number): number => common

describe('prefix cache', () => {
  it('finds the longest prefix of its scope, and what is shared', () => {
    using cache = new PrefixCache(undefined, 8)
    const mine = prefix('me', count(0, 20))
    const yours = prefix('you', count(0, 40))
    const shared = prefix(undefined, count(0, 12))
    for (const one of [mine, yours, shared]) cache.add(one)
    const wanted = run(...count(0, 30))
    expect(cache.find(wanted, 'me', all)).toEqual({ prefix: mine, length: 20 })
    expect(cache.find(wanted, 'you', all)).toEqual({ prefix: yours, length: 30 })
    expect(cache.find(wanted, 'them', all)).toEqual({ prefix: shared, length: 12 })
    expect(cache.find(wanted, undefined, all)).toEqual({ prefix: shared, length: 12 })
    expect(cache.find(run(...count(5, 30)), 'me', all)).toBeUndefined()
    expect(cache.find(wanted, 'me', (one, common) => (one === mine ? 9 : common))?.prefix).toBe(shared)
  })

  it('drops what a new one continues, and the least recently used beyond its limit', async () => {
    using cache = new PrefixCache(undefined, 2)
    const first = prefix('me', count(0, 20))
    cache.add(first)
    cache.add(prefix('me', count(0, 25)))
    expect([cache.size, first.gone()]).toEqual([1, true])
    const [old, used, fresh] = [
      prefix('a', count(100, 120)),
      prefix('b', count(200, 220)),
      prefix('c', count(300, 320)),
    ]
    cache.add(used)
    cache.add(old)
    await cache.withPinned(used, () => Promise.resolve())
    cache.add(fresh)
    expect([old.gone(), used.gone(), fresh.gone(), cache.tokens]).toEqual([true, false, false, 40])
  })

  it('gives way to who needs memory, oldest first, but never what is shared or being read', async () => {
    const budget = new MemoryBudget(100)
    using cache = new PrefixCache(budget, 8)
    const shared = prefix(undefined, count(0, 20), { budget })
    const old = prefix('a', count(100, 120), { budget })
    const read = prefix('b', count(200, 220), { budget })
    const last = prefix('c', count(300, 320), { budget })
    for (const one of [shared, old, read, last]) cache.add(one)
    expect(budget.acquire(30)).toBe(true)
    expect([old.gone(), read.gone(), last.gone()]).toEqual([true, false, false])
    budget.release(30)
    await cache.withPinned(read, () => {
      expect(budget.acquire(61)).toBe(false)
      expect([shared.gone(), read.gone(), last.gone()]).toEqual([false, false, true])
      return Promise.resolve()
    })
    expect(budget.acquire(80)).toBe(true)
    expect([shared.gone(), read.gone()]).toEqual([false, true])
  })

  it('counts hidden states, keeps none where there is no memory for them, and forgets a scope', () => {
    const budget = new MemoryBudget(100)
    using cache = new PrefixCache(budget, 8)
    const hidden = new Map([[3, new Float32Array(10)]])
    cache.add(prefix('a', count(0, 20), { budget, hidden }))
    expect(budget.used).toBe(60)
    budget.acquire(20)
    const big = prefix('b', count(100, 110), { budget, hidden: new Map([[3, new Float32Array(30)]]) })
    cache.add(big)
    const found = cache.find(run(...count(100, 110)), 'b', all)
    expect(found?.prefix.hidden.size).toBe(0)
    cache.evictScope('b')
    expect(big.gone()).toBe(true)
    expect(cache.find(run(...count(100, 110)), 'b', all)).toBeUndefined()
  })
})

describe('encoder outputs', () => {
  const medium = (floats: number): { embeddings: Float32Array } => ({ embeddings: new Float32Array(floats) })

  it('are found by scope and key, the least recently used going first', () => {
    const cache = new EncodedCache(undefined, 100)
    cache.put('me', 'a', medium(10))
    cache.put('me', 'b', medium(10))
    expect(cache.get('you', 'a')).toBeUndefined()
    expect(cache.get('me', 'a')?.embeddings.length).toBe(10)
    cache.put('me', 'c', medium(10))
    expect([cache.get('me', 'a'), cache.get('me', 'b'), cache.get('me', 'c')].map(Boolean)).toEqual([true, false, true])
    cache.put('me', 'huge', medium(26))
    expect([cache.bytes, cache.get('me', 'huge')]).toEqual([80, undefined])
  })

  it('take only what memory is spare, and give way', () => {
    const budget = new MemoryBudget(100)
    const cache = new EncodedCache(budget, 1000)
    cache.put('me', 'a', medium(10))
    cache.put('me', 'b', medium(10))
    cache.put('me', 'c', medium(10))
    expect([cache.bytes, budget.used, cache.get('me', 'c')]).toEqual([80, 80, undefined])
    expect(budget.acquire(50)).toBe(true)
    expect([cache.bytes, budget.used]).toEqual([40, 90])
    cache.clear()
    expect(budget.used).toBe(50)
  })
})
