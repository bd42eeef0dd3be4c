/**
 * Pools of replayed peers: failover, ejection and return, limits, drains, fall-backs, and a plan that changes while
 * requests run.
 */
import { afterEach, describe, expect, it } from 'vitest'
import { VOICES } from '../../src/catalogue/index.ts'
import { EngineError, type EngineEvent } from '../../src/contract/index.ts'
import { mapVoices } from '../../src/engines/local/voices.ts'
import { ADAPTERS } from '../../src/engines/remote/adapters.ts'
import { Cluster, type ClusterEvent } from '../../src/engines/remote/pool/cluster.ts'
import { ClusterEngine } from '../../src/engines/remote/pool/cluster-engine.ts'
import type { Balancing, ClusterPlan, PoolPlan, ReplicaPlan } from '../../src/engines/remote/pool/plan.ts'
import { RemoteEngine } from '../../src/engines/remote/remote-engine.ts'
import { rowsOf } from '../../testing/replayed-peers.ts'
import { recording, type Reply, type ReplayServer, startReplay } from '../../testing/replay-server.ts'
import { makeRequest, readReply } from '../../testing/requests.ts'
import { freePort } from '../../testing/free-port.ts'
import { eventually } from '../../testing/until.ts'

const never = new AbortController().signal
const chat = '/v1/chat/completions'
const text = recording('vllm/text.sse')
const open: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

async function start(pace = 1, port = 0): Promise<ReplayServer> {
  const server = await startReplay(rowsOf('vllm', { pace }), port)
  open.push(() => server.kill())
  return server
}

const replica = (name: string, server: ReplayServer, more: Partial<ReplicaPlan> = {}): ReplicaPlan => ({
  name,
  url: server.url,
  weight: 1,
  maxPending: 8,
  draining: false,
  ...more,
})

const pool = (name: string, replicas: readonly ReplicaPlan[], more: Partial<PoolPlan> = {}): PoolPlan => ({
  name,
  engine: 'vllm',
  replicas,
  peer: { model: 'nano' },
  limits: { idle: 60_000, ask: 30_000 },
  ...more,
})

const balancing: Balancing = {
  strategy: 'least-pending',
  affinity: 'none',
  // The test triggers the checks.
  probeEvery: 3_600_000,
  health: { strikes: 2, goodProbes: 2, out: [30_000, 300_000] },
  speechCost: 2,
  retries: 2,
  moveWithin: 40_000,
}

interface Running {
  readonly cluster: Cluster
  readonly engine: ClusterEngine
  readonly events: ClusterEvent[]
  /** Advances the clock. */
  readonly pass: (milliseconds: number) => void
}

async function run(pools: readonly PoolPlan[], more: Partial<Balancing> = {}): Promise<Running> {
  const events: ClusterEvent[] = []
  let now = 1_000_000
  const cluster = await Cluster.start({
    plan: planOf(pools, more),
    open: async (from, plan) => {
      if (from.engine === 'local') throw new Error('no local pools here')
      const engine = new RemoteEngine({
        adapter: ADAPTERS[from.engine],
        id: plan.name,
        url: plan.url!,
        peer: { ...from.peer, voices: mapVoices(VOICES) },
        limits: from.limits,
      })
      const probes = {
        probe: (signal: AbortSignal) => engine.probe(signal),
        discover: (signal: AbortSignal) => engine.discover(signal),
      }
      return { engine, model: () => engine.model, ...(engine.probes && probes) }
    },
    onEvent: (event) => void events.push(event),
    now: () => now,
    random: () => 0,
  })
  open.push(() => cluster.close())
  return { cluster, engine: new ClusterEngine(cluster, 'any'), events, pass: (milliseconds) => (now += milliseconds) }
}

function planOf(pools: readonly PoolPlan[], more: Partial<Balancing> = {}): ClusterPlan {
  return { pools, routes: { any: pools.map(({ name }) => name) }, balancing: { ...balancing, ...more } }
}

const ask = (more: Parameters<typeof makeRequest>[0] = {}) => makeRequest({ model: 'any', ...more })

async function servedBy(engine: ClusterEngine, request = ask()): Promise<string | undefined> {
  let by: string | undefined
  for await (const event of engine.generate(request, never)) if (event.type === 'start') by = event.servedBy
  return by
}

const broken: Reply = { events: text, pace: 2, stop: { after: 5, how: 'reset' } }

describe('a cluster', () => {
  it('balances requests by pending work', async () => {
    const [a, b] = [await start(5), await start(5)]
    const { engine, cluster } = await run([pool('p', [replica('a', a), replica('b', b)])])
    const all = Promise.all([1, 2, 3, 4].map(() => servedBy(engine)))
    await eventually(() => expect(cluster.status().map(({ live }) => live)).toEqual([2, 2]))
    expect((await all).map(String).toSorted()).toEqual(['a', 'a', 'b', 'b'])
    expect(cluster.status().map(({ live, pending }) => [live, pending])).toEqual([
      [0, 0],
      [0, 0],
    ])
  })

  it('moves a request that has not begun, ejects the dead replica, and readmits it after checks and a trial', async () => {
    const port = await freePort()
    const [a, b] = [await start(1, port), await start()]
    const { engine, cluster, events, pass } = await run([pool('p', [replica('a', a), replica('b', b)])])
    await a.kill()
    expect(await servedBy(engine)).toBe('b')
    await eventually(() => expect(cluster.status()[0]?.state).toBe('ejected'))
    const seen = events.map((event) => `${event.type} ${event.replica}`)
    expect(seen.toSorted()).toEqual(['ejected a', 'request a', 'request b', 'retry a', 'returned a', 'returned b'])
    expect(cluster.status()[0]).toMatchObject({ state: 'ejected', counts: { ejections: 1, retries: 1 } })
    // No request goes there meanwhile.
    for (let count = 0; count < 3; count += 1) expect(await servedBy(engine)).toBe('b')
    // It is healthy again, but still ejected.
    const again = await start(1, port)
    await cluster.probeAll()
    await cluster.probeAll()
    expect(cluster.status()[0]?.state).toBe('ejected')
    pass(30_000)
    await cluster.probeAll()
    expect(cluster.status()[0]?.state).toBe('up')
    const trial = again.seen.filter(({ path }) => path === chat)
    expect(trial).toHaveLength(1)
    expect(trial[0]?.body).toMatchObject({ max_tokens: 1 })
    expect(await servedBy(engine)).toBe('a')
  })

  it('never joins two replies: one that has begun ends with one error', async () => {
    const [a, b] = [await start(), await start()]
    a.prepend({ path: chat, reply: broken })
    const { engine, cluster } = await run([pool('p', [replica('a', a), replica('b', b)])])
    const seen: EngineEvent[] = []
    const reading = (async () => {
      for await (const event of engine.generate(ask(), never)) seen.push(event)
    })()
    await expect(reading).rejects.toMatchObject({ code: 'engine_crashed', retryable: true })
    expect(seen.slice(0, 2).map(({ type }) => type)).toEqual(['start', 'text-delta'])
    expect(seen.filter(({ type }) => type === 'start')).toHaveLength(1)
    expect(b.seen.filter(({ path }) => path === chat)).toEqual([])
    expect(cluster.status()[0]?.state).toBe('ejected')
  })

  it('retries at most once after a crash, and refuses a request that crashed two replicas', async () => {
    const servers = [await start(), await start(), await start()]
    const dead: Reply = { events: text, stop: { after: 1, how: 'silence' } }
    for (const server of servers)
      server.prepend({ path: chat, when: (body) => JSON.stringify(body).includes('poison'), reply: dead })
    const { engine, cluster, pass } = await run(
      [
        pool(
          'p',
          servers.map((server, index) => replica(`r${index}`, server)),
          { limits: { idle: 1000, ask: 30_000 } },
        ),
      ],
      { moveWithin: 0 },
    )
    const poison = () => readReply(engine, ask({ text: 'poison' }))
    await expect(poison()).rejects.toMatchObject({ code: 'engine_crashed' })
    expect(cluster.status().map(({ state }) => state)).toEqual(['ejected', 'ejected', 'up'])
    await expect(poison()).rejects.toMatchObject({ code: 'engine_crashed', retryable: false })
    expect(cluster.status()[2]?.state).toBe('up')
    expect(await servedBy(engine)).toBe('r2')
    pass(61_000)
    await expect(poison()).rejects.toMatchObject({ retryable: true })
  })

  it('moves waiting requests away from a stopping replica; replies that have begun end with one error', async () => {
    // As a vLLM-Omni after SIGTERM: open streams get nothing more, the rest no answer, and its health check says so
    // later.
    const [a, b] = [await start(), await start()]
    a.prepend(
      {
        path: chat,
        when: (body) => JSON.stringify(body).includes('begins'),
        reply: { events: text, stop: { after: 5, how: 'silence' } },
      },
      { path: chat, reply: { events: text, delay: 3_600_000 } },
    )
    const { engine, cluster, events } = await run([
      pool('p', [replica('a', a, { maxPending: 32 }), replica('b', b, { draining: true, maxPending: 32 })], {
        limits: { idle: 1500, ask: 30_000, firstByte: 3_600_000 },
      }),
    ])
    const begun = readReply(engine, ask({ text: 'begins' })).catch((error: unknown) => error)
    const waiting = Array.from({ length: 20 }, () => servedBy(engine))
    await eventually(() => expect(a.seen.filter(({ path }) => path === chat)).toHaveLength(21))
    cluster.setDraining('b', false)
    a.prepend({ path: '/health', reply: { status: 503, body: { status: 'unhealthy' } } })
    await cluster.probeAll()
    await cluster.probeAll()
    // More than the budget of retries: each was asked for once.
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['b']))
    expect(await begun).toMatchObject({ code: 'engine_crashed', retryable: true })
    expect(cluster.status()[0]).toMatchObject({ state: 'ejected', live: 0, pending: 0 })
    expect(events.filter(({ type }) => type === 'retry')).toHaveLength(20)
  })

  it('lets a request that has to move wait for a replica that may return', async () => {
    const [a, b] = [await start(), await start()]
    a.prepend({ path: chat, reply: { events: text, delay: 3_600_000 } })
    const { engine, cluster, pass } = await run([
      pool('p', [replica('a', a), replica('b', b)], { limits: { idle: 1500, ask: 30_000, firstByte: 3_600_000 } }),
    ])
    const ill: Reply = { status: 503, body: { status: 'unhealthy' } }
    let bIsIll = true
    b.prepend({ path: '/health', when: () => bIsIll, reply: ill })
    for (let count = 0; count < 2; count += 1) await cluster.probeAll()
    const waiting = [1, 2, 3].map(() => servedBy(engine))
    await eventually(() => expect(cluster.status()[0]).toMatchObject({ live: 3 }))
    a.prepend({ path: '/health', reply: ill })
    for (let count = 0; count < 2; count += 1) await cluster.probeAll()
    await eventually(() =>
      expect(cluster.status().map(({ state, live }) => [state, live])).toEqual([
        ['ejected', 0],
        ['ejected', 0],
      ]),
    )
    // A new request is refused at once.
    await expect(servedBy(engine)).rejects.toMatchObject({ code: 'upstream_failed' })
    bIsIll = false
    pass(30_000)
    for (let count = 0; count < 2; count += 1) await cluster.probeAll()
    expect(await Promise.all(waiting)).toEqual(['b', 'b', 'b'])
  })

  it('does not wait with a request that ended two replicas', async () => {
    const servers = [await start(), await start(), await start()]
    const { cluster } = await run(
      [
        pool(
          'p',
          servers.map((server, index) => replica(`r${index}`, server)),
        ),
      ],
      { moveWithin: 3_600_000 },
    )
    const request = ask()
    const excluded = new Set<string>()
    for (let count = 0; count < 2; count += 1) {
      const picked = cluster.pick('any', request, excluded)
      if (picked.kind === 'refused') throw picked.error
      using lease = picked.lease
      excluded.add(lease.member.plan.name)
      cluster.recordFailure(lease.member, request, new EngineError('engine_crashed', 'It crashed.'))
    }
    expect(await cluster.pickLater('any', request, excluded, never)).toMatchObject({ error: { retryable: false } })
  })

  it('ends the wait of a request that has to move when its caller leaves, or nothing can return', async () => {
    const [a, b] = [await start(), await start()]
    a.prepend({ path: chat, reply: { events: text, delay: 3_600_000 } })
    const { engine, cluster } = await run(
      [
        pool('p', [replica('a', a), replica('b', b, { draining: true })], {
          limits: { idle: 1500, ask: 30_000, firstByte: 3_600_000 },
        }),
      ],
      { health: { strikes: 1, goodProbes: 2, out: [10_000, 10_000] } },
    )
    const caller = new AbortController()
    const left = readReply(engine, ask(), caller.signal).catch((error: unknown) => error)
    const stays = readReply(engine, ask()).catch((error: unknown) => error)
    await eventually(() => expect(cluster.status()[0]).toMatchObject({ live: 2 }))
    a.prepend({ path: '/health', reply: { status: 503, body: { status: 'unhealthy' } } })
    await cluster.probeAll()
    await eventually(() => expect(cluster.status()[0]).toMatchObject({ state: 'ejected', live: 0 }))
    caller.abort(new Error('the caller left'))
    expect(await left).toMatchObject({ message: 'the caller left' })
    cluster.setDraining('a', true)
    expect(await stays).toMatchObject({ code: 'upstream_failed' })
  })

  it('does not eject a replica with slow health checks while its replies continue', async () => {
    const a = await start(40)
    const { engine, cluster, pass } = await run([pool('p', [replica('a', a)], { limits: { idle: 60_000, ask: 300 } })])
    a.prepend({ path: '/health', reply: { delay: 3_600_000 } })
    const running = readReply(engine, ask({ text: 'a long story', maxTokens: 60 }))
    await eventually(() => expect(a.open).toBe(1))
    for (let count = 0; count < 3; count += 1) await cluster.probeAll()
    expect(cluster.status()[0]?.state).toBe('up')
    expect((await running).reason).toBe('length')
    pass(1)
    for (let count = 0; count < 2; count += 1) await cluster.probeAll()
    expect(cluster.status()[0]?.state).toBe('ejected')
  })

  it('limits retries to a budget', async () => {
    const servers = await Promise.all([1, 2, 3].map(() => start()))
    for (const server of servers)
      server.prepend({ path: chat, reply: { status: 500, body: { error: { message: 'x' } } } })
    // Nothing ejects, so every request finds replicas.
    const health = { ...balancing.health, strikes: 1e9 }
    const { engine } = await run(
      [
        pool(
          'p',
          servers.map((server, index) => replica(`r${index}`, server)),
        ),
      ],
      { health },
    )
    for (let count = 0; count < 40; count += 1)
      await expect(readReply(engine, ask())).rejects.toMatchObject({ code: 'upstream_failed' })
    const sent = servers.reduce((sum, { seen }) => sum + seen.filter(({ path }) => path === chat).length, 0)
    // 40 requests, ten retries to start with, and one for each ten requests.
    expect(sent).toBeGreaterThanOrEqual(50)
    expect(sent).toBeLessThanOrEqual(56)
  })

  it('does not retry the caller’s errors', async () => {
    const [a, b] = [await start(), await start()]
    for (const server of [a, b])
      server.prepend({
        path: chat,
        reply: { status: 400, body: { error: { message: 'temperature must be in [0, 2]', param: 'temperature' } } },
      })
    const { engine, cluster } = await run([pool('p', [replica('a', a), replica('b', b)])])
    await expect(readReply(engine, ask())).rejects.toMatchObject({ code: 'unsupported', param: 'temperature' })
    expect(cluster.status().map(({ state }) => state)).toEqual(['up', 'up'])
  })

  it('refuses with a retry time when every replica is full', async () => {
    const a = await start(20)
    const { engine, cluster } = await run([pool('p', [replica('a', a, { maxPending: 2 })])])
    const live = [1, 2].map(() => engine.generate(ask(), never)[Symbol.asyncIterator]())
    await Promise.all(live.map((iterator) => iterator.next()))
    await expect(readReply(engine, ask())).rejects.toMatchObject({ code: 'rate_limited', retryAfterMs: 2000 })
    await live[0]?.return?.()
    expect(await servedBy(engine)).toBe('a')
    await live[1]?.return?.()
    expect(cluster.status()[0]).toMatchObject({ live: 0, pending: 0 })
  })

  it('limits a pool to its requests per minute', async () => {
    const a = await start()
    const { engine, pass } = await run([pool('p', [replica('a', a)], { requestsPerMinute: 6 })])
    expect(await servedBy(engine)).toBe('a')
    await expect(readReply(engine, ask())).rejects.toMatchObject({ code: 'rate_limited', retryAfterMs: 10_000 })
    pass(10_000)
    expect(await servedBy(engine)).toBe('a')
  })

  it('pauses a rate-limited replica for as long as it says, and uses the next pool', async () => {
    const [a, b] = [await start(), await start()]
    a.prepend({
      path: chat,
      when: (_, seen) => seen.filter(({ path }) => path === chat).length < 1,
      reply: { status: 429, body: {} },
    })
    const { engine, cluster, pass } = await run([pool('p', [replica('a', a)]), pool('q', [replica('b', b)])])
    expect(await servedBy(engine)).toBe('b')
    expect(cluster.status()[0]?.state).toBe('resting')
    expect(await servedBy(engine)).toBe('b')
    pass(1500)
    expect(await servedBy(engine)).toBe('a')
  })

  it('falls back in order, by capability and by health', async () => {
    const [a, b] = [await start(), await startReplay(rowsOf('vllm-omni', { pace: 0 }))]
    open.push(() => b.kill())
    const { engine } = await run([
      pool('text', [replica('a', a)]),
      pool('speech', [replica('b', b)], { engine: 'vllm-omni' }),
    ])
    expect(engine.model.output).toEqual(['text', 'audio'])
    expect(await servedBy(engine)).toBe('a')
    expect(await servedBy(engine, ask({ voice: 'Cherry' }))).toBe('b')
    await a.kill()
    expect(await servedBy(engine)).toBe('b')
    await expect(servedBy(engine, ask({ voice: 'Nobody' }))).rejects.toMatchObject({ code: 'unsupported' })
  })

  it('suspends a replica whose key is refused, until an operator acts', async () => {
    const [a, b] = [await start(), await start()]
    let refuses = true
    a.prepend({ path: chat, when: () => refuses, reply: { status: 401, body: { error: 'Unauthorized' } } })
    const { engine, cluster, pass } = await run([pool('p', [replica('a', a), replica('b', b)])])
    expect(await servedBy(engine)).toBe('b')
    expect(cluster.status()[0]).toMatchObject({
      state: 'suspended',
      reason: expect.stringContaining("set the pool's key") as string,
    })
    pass(3_600_000)
    await cluster.probeAll()
    await cluster.probeAll()
    expect(cluster.status()[0]?.state).toBe('suspended')
    refuses = false
    cluster.setDraining('a', false)
    await cluster.probeAll()
    expect(await servedBy(engine)).toBe('a')
  })

  it('ejects after two failed checks, before any request fails', async () => {
    const [a, b] = [await start(), await start()]
    const { engine, cluster } = await run([pool('p', [replica('a', a), replica('b', b)])])
    a.prepend({ method: 'GET', path: '/health', reply: { status: 503, body: '' } })
    await cluster.probeAll()
    expect(cluster.status()[0]?.state).toBe('up')
    await cluster.probeAll()
    expect(cluster.status()[0]?.state).toBe('ejected')
    expect(await servedBy(engine)).toBe('b')
    expect(a.seen.filter(({ path }) => path === chat)).toEqual([])
  })

  it('drains on command: running replies finish, no new ones start, and the state says when it is done', async () => {
    const [a, b] = [await start(5), await start(5)]
    const { engine, cluster, events } = await run([pool('p', [replica('a', a), replica('b', b)])])
    const running = readReply(engine, ask())
    await eventually(() => expect(cluster.status()[0]?.live).toBe(1))
    expect(cluster.setDraining('a', true)).toBe(true)
    expect(cluster.setDraining('nobody', true)).toBe(false)
    expect(cluster.status()[0]?.state).toBe('draining')
    expect(await servedBy(engine)).toBe('b')
    expect((await running).text).toContain('nano')
    expect(cluster.status()[0]?.state).toBe('drained')
    expect(events).toContainEqual({ type: 'drained', pool: 'p', replica: 'a' })
    cluster.setDraining('a', false)
    expect(await servedBy(engine)).toBe('a')
  })

  it('applies a new plan without cutting a reply', async () => {
    const [a, b] = [await start(5), await start(5)]
    const { engine, cluster } = await run([pool('p', [replica('a', a)])])
    const running = readReply(engine, ask())
    await eventually(() => expect(cluster.status()[0]?.live).toBe(1))
    await cluster.apply(planOf([pool('p', [replica('b', b)])]))
    expect(cluster.status().map(({ name }) => name)).toEqual(['b'])
    expect(await servedBy(engine)).toBe('b')
    const reply = await running
    expect([reply.text.includes('speak.'), reply.reason]).toEqual([true, 'stop'])
    // Same replica, other weight: connections and counts continue.
    await cluster.apply(planOf([pool('p', [replica('b', b, { weight: 3 })])]))
    expect(cluster.status()[0]).toMatchObject({ weight: 3, counts: { requests: 1 } })
  })

  it('serves while the replicas of a new plan are checked', async () => {
    const a = await start()
    const { cluster } = await run([pool('p', [replica('a', a)])])
    let applied = false
    const applying = cluster
      .apply(planOf([pool('p', [replica('a', a)], { limits: { idle: 50_000, ask: 30_000 } })]))
      .finally(() => (applied = true))
    while (!applied) {
      expect(cluster.isReady('any')).toBe(true)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await applying
    expect(cluster.isReady('any')).toBe(true)
  })

  it('keeps its plan when a new one is not valid', async () => {
    const [a, b, c] = [await start(), await start(), await start()]
    const { cluster, engine } = await run([pool('p', [replica('a', a), replica('b', b)])])
    const before = cluster.status()
    const next = [
      pool('p', [replica('a', a, { draining: true, weight: 5 }), replica('c', c)]),
      pool('here', [{ ...replica('here', a) }], { engine: 'local', checkpoint: 'absent' }),
    ]
    await expect(cluster.apply(planOf(next))).rejects.toThrow('no local pools here')
    expect(cluster.status()).toEqual(before)
    expect(await servedBy(engine)).toBe('a')
  })

  it('describes a removed route for the requests that still run', async () => {
    const a = await start()
    const { engine, cluster } = await run([pool('p', [replica('a', a)])])
    const before = engine.model
    await cluster.apply({ ...planOf([pool('p', [replica('a', a)])]), routes: {} })
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect(engine.model).toEqual(before)
    await expect(readReply(engine, ask())).rejects.toMatchObject({ code: 'unknown_model' })
  })

  it('reports that nothing is healthy, and serves when a replica is', async () => {
    const port = await freePort()
    const a = await start(1, port)
    await a.kill()
    const { engine, cluster } = await run([pool('p', [replica('a', a)])])
    expect(engine.status()).toMatchObject({ ready: false, reason: 'no replica is healthy' })
    await expect(readReply(engine, ask())).rejects.toMatchObject({ code: 'upstream_failed' })
    await start(1, port)
    await cluster.probeAll()
    expect(engine.status().ready).toBe(true)
    expect(await servedBy(engine)).toBe('a')
  })

  it('readmits a peer without health checks by one request', async () => {
    const [a, b] = [await startReplay([{ path: '/chat/completions', reply: { status: 500, body: {} } }]), await start()]
    open.push(() => a.kill())
    const cloud = pool('cloud', [replica('a', a)], { engine: 'dashscope' })
    const { engine, cluster, pass } = await run([cloud, pool('p', [replica('b', b)])])
    expect([await servedBy(engine), await servedBy(engine), await servedBy(engine)]).toEqual(['b', 'b', 'b'])
    expect(a.seen).toHaveLength(2)
    pass(30_000)
    expect(await servedBy(engine)).toBe('b')
    expect(a.seen).toHaveLength(3)
    a.prepend({ path: '/chat/completions', reply: { events: text } })
    pass(30_000)
    expect(await servedBy(engine)).toBe('b')
    pass(30_000)
    expect(await servedBy(engine)).toBe('a')
    expect(cluster.status()[0]?.state).toBe('up')
  })
})
