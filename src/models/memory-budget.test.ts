import { describe, expect, it } from 'vitest'

import { MemoryBudget } from './memory-budget.ts'

describe('memory budget', () => {
  it('takes up to its limit and no more', () => {
    const budget = new MemoryBudget(100)
    expect(budget.take(60)).toBe(true)
    expect(budget.take(41)).toBe(false)
    expect(budget.take(40)).toBe(true)
    expect([budget.used, budget.free]).toEqual([100, 0])
    budget.give(30)
    expect(budget.free).toBe(30)
    expect(() => budget.give(71)).toThrow(/more bytes were given back/)
  })

  it('reclaims just what is short, in order, before it refuses', () => {
    const budget = new MemoryBudget(100)
    const asked: [string, number][] = []
    const held = { first: 20, second: 50 }
    budget.take(90)
    for (const name of ['first', 'second'] as const)
      budget.addReclaim((bytes) => {
        asked.push([name, bytes])
        const freed = Math.min(bytes, held[name])
        held[name] -= freed
        budget.give(freed)
      })
    expect(budget.take(10)).toBe(true)
    expect(asked).toEqual([])
    expect(budget.take(30)).toBe(true)
    expect(asked).toEqual([
      ['first', 30],
      ['second', 10],
    ])
    expect(budget.take(41)).toBe(false)
    expect(budget.used).toBe(100 - 40)
  })

  it('reports freed memory until it has no listener', () => {
    const budget = new MemoryBudget(10)
    let woken = 0
    const listening = budget.onFreed(() => (woken += 1))
    budget.take(10)
    budget.give(4)
    expect(woken).toBe(1)
    listening[Symbol.dispose]()
    budget.give(4)
    expect(woken).toBe(1)
  })
})
