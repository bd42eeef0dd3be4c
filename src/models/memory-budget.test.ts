import { describe, expect, it } from 'vitest'

import { MemoryBudget } from './memory-budget.ts'

describe('memory budget', () => {
  it('grants memory up to its limit', () => {
    const budget = new MemoryBudget(100)
    expect(budget.acquire(60)).toBe(true)
    expect(budget.acquire(41)).toBe(false)
    expect(budget.acquire(40)).toBe(true)
    expect([budget.used, budget.free]).toEqual([100, 0])
    budget.release(30)
    expect(budget.free).toBe(30)
    expect(() => budget.release(71)).toThrow(/more bytes were released/)
  })

  it('reclaims only the missing memory, in order, before it refuses', () => {
    const budget = new MemoryBudget(100)
    const asked: [string, number][] = []
    const held = { first: 20, second: 50 }
    budget.acquire(90)
    for (const name of ['first', 'second'] as const)
      budget.addReclaimer((bytes) => {
        asked.push([name, bytes])
        const freed = Math.min(bytes, held[name])
        held[name] -= freed
        budget.release(freed)
      })
    expect(budget.acquire(10)).toBe(true)
    expect(asked).toEqual([])
    expect(budget.acquire(30)).toBe(true)
    expect(asked).toEqual([
      ['first', 30],
      ['second', 10],
    ])
    expect(budget.acquire(41)).toBe(false)
    expect(budget.used).toBe(100 - 40)
  })

  it('reports freed memory until it has no listener', () => {
    const budget = new MemoryBudget(10)
    let woken = 0
    const listening = budget.onFreed(() => (woken += 1))
    budget.acquire(10)
    budget.release(4)
    expect(woken).toBe(1)
    listening[Symbol.dispose]()
    budget.release(4)
    expect(woken).toBe(1)
  })
})
