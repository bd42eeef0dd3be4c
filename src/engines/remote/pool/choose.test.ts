import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../../testing/seeded-random.ts'
import {
  afterCrash,
  afterReply,
  afterRequest,
  DEFAULT_SUSPECTS,
  fullBudget,
  isRefused,
  newBucket,
  refill,
  takeRetry,
  waitFor,
} from './budgets.ts'
import { type Candidate, choose, type ChooseOptions } from './choose.ts'

const replica = (name: string, pending = 0, more: Partial<Candidate> = {}): Candidate => ({
  name,
  pending,
  maxPending: 8,
  weight: 1,
  ...more,
})
const options = (more: Partial<ChooseOptions> = {}): ChooseOptions => ({
  strategy: 'least-pending',
  cost: 1,
  random: seededRandom(1),
  turn: 0,
  ...more,
})

describe('choosing a replica', () => {
  it('takes the least pending by weight', () => {
    expect(choose([replica('a', 2), replica('b', 1), replica('c', 3)], options())?.name).toBe('b')
    expect(choose([replica('a', 2), replica('b', 3, { weight: 2 })], options())?.name).toBe('b')
  })

  it('breaks ties at random', () => {
    const random = seededRandom(7)
    const seen = new Set(
      Array.from({ length: 40 }, () => choose([replica('a'), replica('b')], options({ random }))?.name),
    )
    expect(seen).toEqual(new Set(['a', 'b']))
  })

  it('keeps to the capacity of each, and to none when all are full', () => {
    expect(choose([replica('a', 7), replica('b', 6)], options({ cost: 2 }))?.name).toBe('b')
    expect(choose([replica('a', 8), replica('b', 7)], options({ cost: 2 }))).toBeUndefined()
    // A replica whose capacity is below one request's cost still takes one.
    expect(choose([replica('a', 0, { maxPending: 1 })], options({ cost: 2 }))?.name).toBe('a')
  })

  it('keeps a key at its replica while the load allows it, and moves only the keys of a replica that goes', () => {
    const all = ['a', 'b', 'c', 'd'].map((name) => replica(name))
    const keys = Array.from({ length: 200 }, (_, index) => `user-${index}`)
    const at = (among: readonly Candidate[]): string[] =>
      keys.map((affinity) => choose(among, options({ affinity }))!.name)
    const before = at(all)
    expect(at(all.toReversed())).toEqual(before)
    const after = at(all.filter(({ name }) => name !== 'b'))
    for (const [index, name] of before.entries()) if (name !== 'b') expect(after[index]).toBe(name)
    for (const name of ['a', 'b', 'c', 'd']) expect(before.filter((found) => found === name).length).toBeGreaterThan(25)
    const busy = all.map((candidate) => (candidate.name === before[0] ? { ...candidate, pending: 3 } : candidate))
    expect(choose(busy, options({ affinity: keys[0]! }))?.name).not.toBe(before[0])
  })

  it('goes round', () => {
    const all = [replica('a'), replica('b')]
    expect([0, 1, 2].map((turn) => choose(all, options({ strategy: 'round-robin', turn }))?.name)).toEqual([
      'a',
      'b',
      'a',
    ])
  })
})

describe('budgets', () => {
  it('allows ten retries, and one more for each ten requests', () => {
    let budget = fullBudget
    for (let count = 0; count < 10; count += 1) budget = takeRetry(budget)!
    expect(takeRetry(budget)).toBeUndefined()
    for (let count = 0; count < 11; count += 1) budget = afterRequest(budget)
    expect(takeRetry(budget)).toBeDefined()
  })

  it('holds requests to a rate and says how long to wait', () => {
    let bucket = newBucket(60, 0)
    for (let count = 0; count < 10; count += 1) {
      expect(waitFor(bucket, 60)).toBe(0)
      bucket = { ...bucket, tokens: bucket.tokens - 1 }
    }
    expect(waitFor(bucket, 60)).toBe(1000)
    expect(waitFor(refill(bucket, 60, 1000), 60)).toBe(0)
  })

  it('refuses what ended two replicas, for a while', () => {
    const one = afterCrash(new Map(), 'x', 'a', 0, DEFAULT_SUSPECTS)
    // Others like it, ended by the same outage.
    expect(isRefused(afterCrash(one, 'x', 'a', 1, DEFAULT_SUSPECTS), 'x', 2, DEFAULT_SUSPECTS)).toBe(false)
    const two = afterCrash(one, 'x', 'b', 10, DEFAULT_SUSPECTS)
    expect(isRefused(two, 'x', 11, DEFAULT_SUSPECTS)).toBe(true)
    expect(isRefused(two, 'y', 11, DEFAULT_SUSPECTS)).toBe(false)
    expect(isRefused(two, 'x', 60_011, DEFAULT_SUSPECTS)).toBe(false)
    expect(isRefused(afterReply(two, 'x'), 'x', 11, DEFAULT_SUSPECTS)).toBe(false)
  })
})
