import { describe, expect, it } from 'vitest'
import { RequestQueue } from './request-queue.ts'
import { RateLimiter } from './rate-limit.ts'
import { Shutdown } from './shutdown.ts'

const never = new AbortController().signal

describe('request queue', () => {
  it('lets some in, keeps some in line, refuses the rest at once', async () => {
    const queue = new RequestQueue({ maxActive: 1, maxWaiting: 1 })
    const first = await queue.enter(never)
    const second = queue.enter(never)
    await expect(queue.enter(never)).rejects.toMatchObject({ status: 503, code: 'ModelServingError' })
    expect([queue.active, queue.waiting]).toEqual([1, 1])
    first[Symbol.dispose]()
    first[Symbol.dispose]()
    const slot = await second
    expect([queue.active, queue.waiting]).toEqual([1, 0])
    slot[Symbol.dispose]()
    expect(queue.active).toBe(0)
  })

  it('keeps the order of arrival and forgets who left', async () => {
    const queue = new RequestQueue({ maxActive: 1, maxWaiting: 5 })
    const first = await queue.enter(never)
    const leaving = new AbortController()
    const order: string[] = []
    const gone = queue.enter(leaving.signal)
    const jobs = ['a', 'b'].map(async (name) => {
      const slot = await queue.enter(never)
      order.push(name)
      slot[Symbol.dispose]()
    })
    leaving.abort(new Error('left'))
    await expect(gone).rejects.toThrow('left')
    first[Symbol.dispose]()
    await Promise.all(jobs)
    expect(order).toEqual(['a', 'b'])
    expect([queue.active, queue.waiting]).toEqual([0, 0])
    await expect(queue.enter(AbortSignal.abort(new Error('early')))).rejects.toThrow('early')
  })
})

describe('rate limit', () => {
  const rule = { requestsPerMinute: 2, tokensPerMinute: 100 }

  it('holds each caller and model to requests and tokens, and fills again with time', () => {
    let now = 0
    const limiter = new RateLimiter('intl', () => now)
    limiter.take('a', 'm', rule)
    limiter.take('a', 'm', rule)
    expect(() => limiter.take('a', 'm', rule)).toThrow('exceeded your current request limit')
    // Two a minute: the next in half a minute.
    expect(() => limiter.take('a', 'm', rule)).toThrow(expect.objectContaining({ retryAfter: 30 }))
    limiter.take('b', 'm', rule)
    now += 30_000
    limiter.take('a', 'm', rule)
    now += 60_000
    limiter.charge('a', 'm', rule, 150)
    expect(() => limiter.take('a', 'm', rule)).toThrow('Allocated quota exceeded')
    // 50 overdrawn and one request, at 100 a minute.
    expect(() => limiter.take('a', 'm', rule)).toThrow(expect.objectContaining({ retryAfter: 31 }))
    now += 60_000
    expect(() => limiter.take('a', 'm', rule)).not.toThrow()
  })
})

describe('shutdown', () => {
  it('waits for what runs, and cuts it after the grace', async () => {
    const shutdown = new Shutdown()
    const running = shutdown.enter()
    let ended = false
    const end = shutdown.begin(50).then(() => {
      ended = true
    })
    expect(shutdown.stopping).toBe(true)
    await new Promise((resolve) => setTimeout(resolve, 80))
    expect([ended, shutdown.signal.aborted]).toEqual([false, true])
    running[Symbol.dispose]()
    await end
    expect(shutdown.running).toBe(0)
  })

  it('does not cut what finishes in time', async () => {
    const shutdown = new Shutdown()
    const running = shutdown.enter()
    const end = shutdown.begin(1000)
    running[Symbol.dispose]()
    await end
    expect(shutdown.signal.aborted).toBe(false)
  })
})
