import { expect, it } from 'vitest'
import { Semaphore } from './semaphore.ts'

const never = new AbortController().signal
const settled = (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([promise.then(() => true), new Promise<boolean>((resolve) => void setImmediate(() => resolve(false)))])

it('grants what fits and keeps the order of the rest', async () => {
  const semaphore = new Semaphore(100)
  const first = await semaphore.acquire(60, never)
  const second = semaphore.acquire(60, never)
  const third = semaphore.acquire(10, never)
  expect(await settled(third)).toBe(false)
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  await second
  await third
  expect(semaphore.held).toBe(70)
})

it('grants more than its capacity only while nothing else is held', async () => {
  const semaphore = new Semaphore(100)
  const small = await semaphore.acquire(1, never)
  const large = semaphore.acquire(500, never)
  expect(await settled(large)).toBe(false)
  small[Symbol.dispose]()
  const grant = await large
  const next = semaphore.acquire(1, never)
  expect(await settled(next)).toBe(false)
  grant[Symbol.dispose]()
  await next
})

it('removes an aborted request from the queue and grants those behind it', async () => {
  const semaphore = new Semaphore(100)
  await semaphore.acquire(60, never)
  const stop = new AbortController()
  const aborted = semaphore.acquire(90, stop.signal)
  const behind = semaphore.acquire(30, never)
  expect(await settled(behind)).toBe(false)
  stop.abort()
  await expect(aborted).rejects.toMatchObject({ code: 'aborted' })
  await behind
  expect(semaphore.held).toBe(90)
})
