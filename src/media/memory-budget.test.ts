import { expect, it } from 'vitest'
import { MemoryBudget } from './memory-budget.ts'

const never = new AbortController().signal
const settled = (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([promise.then(() => true), new Promise<boolean>((resolve) => void setImmediate(() => resolve(false)))])

it('lets in what fits and keeps the order of the rest', async () => {
  const budget = new MemoryBudget(100)
  const first = await budget.acquire(60, never)
  const second = budget.acquire(60, never)
  const third = budget.acquire(10, never)
  expect(await settled(third)).toBe(false)
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  await second
  await third
  expect(budget.held).toBe(70)
})

it('lets in alone what is larger than all of it', async () => {
  const budget = new MemoryBudget(100)
  const small = await budget.acquire(1, never)
  const large = budget.acquire(500, never)
  expect(await settled(large)).toBe(false)
  small[Symbol.dispose]()
  const grant = await large
  const next = budget.acquire(1, never)
  expect(await settled(next)).toBe(false)
  grant[Symbol.dispose]()
  await next
})

it('forgets who stops waiting, and lets those behind in', async () => {
  const budget = new MemoryBudget(100)
  await budget.acquire(60, never)
  const stop = new AbortController()
  const leaving = budget.acquire(90, stop.signal)
  const behind = budget.acquire(30, never)
  expect(await settled(behind)).toBe(false)
  stop.abort()
  await expect(leaving).rejects.toMatchObject({ code: 'aborted' })
  await behind
  expect(budget.held).toBe(90)
})
