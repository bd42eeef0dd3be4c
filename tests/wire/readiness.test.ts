/** Listening before loading, the state of each checkpoint, and when to retry. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ConfigError } from '../../src/config/index.ts'
import type { Engine } from '../../src/contract/index.ts'
import { apiErrorBodySchema, readySchema } from '../../src/protocol/index.ts'
import { createFakeEngine } from '../../testing/fake-engine.ts'
import { freePort } from '../../testing/free-port.ts'
import { until } from '../../testing/until.ts'
import { readReply } from '../support/reply.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'

const hello = { model: 'qwen3-omni-flash', stream: true, messages: [{ role: 'user', content: 'hi' }] }

async function ready(server: TestServer) {
  const response = await fetch(`${server.url}/ready`)
  return { status: response.status, body: readySchema.parse(await response.json()), headers: response.headers }
}

/** A server whose engines are loaded on command. */
async function loadingServer(settings: Parameters<typeof startTestServer>[0] = {}) {
  const engine = fakeEngine()
  let finish: (engines: ReadonlyMap<string, Engine>) => void = () => undefined
  let fail: (error: Error) => void = () => undefined
  const loading = new Promise<ReadonlyMap<string, Engine>>((resolve, reject) => {
    finish = resolve
    fail = reject
  })
  const server = await startTestServer(settings, engine, { engines: () => loading })
  return { server, fail, finish: () => finish(new Map([['fake-omni', engine]])) }
}

describe('while checkpoints are loading', () => {
  it('the server is live but not ready, and says when to retry', async () => {
    const { server, finish } = await loadingServer({ apiKey: ['k'] })
    await using _ = server
    expect((await fetch(`${server.url}/health`)).status).toBe(200)
    expect(await ready(server)).toMatchObject({
      status: 503,
      body: {
        status: 'loading',
        reason: 'loading fake-omni',
        models: [],
        checkpoints: [{ checkpoint: 'fake-omni', ready: false, reason: 'loading', answers_for: [] }],
      },
    })
    const headers = { authorization: 'Bearer k' }
    const refused = [
      await server.chat(hello, { headers }),
      await fetch(`${server.baseUrl}/models`, { headers }),
      await fetch(`${server.baseUrl}/tokens/count`, { method: 'POST', headers, body: JSON.stringify(hello) }),
    ]
    for (const response of refused) {
      expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5'])
      expect(await response.json()).toMatchObject({
        error: { code: 'ModelUnavailable', message: expect.stringContaining('is still loading: fake-omni.') as string },
      })
    }
    // Callers without access get that error first.
    expect((await server.chat(hello)).status).toBe(401)
    finish()
    await server.ready
    expect(await ready(server)).toMatchObject({ status: 200, body: { status: 'ready', models: ['fake-omni'] } })
    expect((await readReply(await server.chat(hello, { headers }))).done).toBe(true)
  })

  it('a load that fails is reported to the caller of startServer, and the server can be stopped', async () => {
    const { server, fail } = await loadingServer()
    fail(new Error('the weights are gone'))
    await expect(server.ready).rejects.toThrow('the weights are gone')
    await server.stop(0)
    await expect(fetch(`${server.url}/health`)).rejects.toThrow()
  })

  it('stopping waits for the load and closes its engines', async () => {
    const { server, finish } = await loadingServer()
    const stopped = server.stop(0)
    finish()
    await stopped
    expect(server.engine.status().ready).toBe(false)
  })

  it('shows no folders of this machine', async () => {
    const { server, finish } = await loadingServer({ model: '/home/someone/fake-omni/' })
    expect((await ready(server)).body.reason).toBe('loading fake-omni')
    finish()
    await expect(server.ready).rejects.toThrow('named in the settings but not loaded')
    await server.stop(0)
  })
})

describe('a port that is taken', () => {
  it('is reported before anything is loaded', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as AddressInfo
    let loads = 0
    const engines = () => {
      loads += 1
      return Promise.reject(new Error('loaded in vain'))
    }
    await expect(startTestServer({ port }, undefined, { engines })).rejects.toThrow(ConfigError)
    expect(loads).toBe(0)
    taken.close()
  })

  it.each([
    ['192.0.2.1', 'cannot listen: 192.0.2.1 is no address of this machine; choose another with --host.'],
    ['name.invalid', 'cannot listen: the name name.invalid has no address; choose another with --host.'],
  ])('or an address that is not here (%s) is said in a sentence', async (host, message) => {
    await expect(startTestServer({ host, apiKey: ['k'] })).rejects.toThrow(message)
  })

  it('is free again after settings are refused', async () => {
    const port = await freePort()
    await expect(startTestServer({ port, alias: { none: 'qwen3-omni-flash' } })).rejects.toThrow(
      /^--alias none: none is no model of region intl\. Models: qwen3-omni-flash, .*\.$/,
    )
    await using server = await startTestServer({ port })
    expect((await fetch(`${server.url}/health`)).status).toBe(200)
  })
})

describe('several checkpoints', () => {
  const settings = { bind: { 'qwen3-omni-flash:thinking': 'thinker', 'qwen-omni-turbo': 'thinker' } }

  it('are reported separately, and one that is down leaves the server ready', async () => {
    let up = { instruct: true, thinker: false }
    const state = (name: keyof typeof up) => () => (up[name] ? {} : { ready: false, reason: `${name} is restarting` })
    const instruct = fakeEngine({ status: state('instruct') })
    const thinker = createFakeEngine({ models: ['thinker'], status: state('thinker') })
    const engines = new Map<string, Engine>([
      ['fake-omni', instruct],
      ['thinker', thinker],
    ])
    await using server = await startTestServer(settings, instruct, { engines })
    const half = await ready(server)
    expect(half.status).toBe(200)
    expect(half.body).toMatchObject({ status: 'ready', models: ['fake-omni', 'thinker'] })
    expect(half.body.reason).toBeUndefined()
    const [first, second] = half.body.checkpoints
    expect(first).toMatchObject({ checkpoint: 'fake-omni', ready: true })
    expect(first?.answers_for).toContain('qwen3-omni-flash')
    expect(first?.answers_for).not.toContain('qwen-omni-turbo')
    expect(second).toMatchObject({ checkpoint: 'thinker', ready: false, reason: 'thinker is restarting' })
    expect(second?.answers_for).toEqual(['qwen3-omni-flash:thinking', 'qwen-omni-turbo'])
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    expect(metrics).toContain('omniserve_checkpoint_ready{checkpoint="thinker"} 0')
    expect(metrics).toContain('omniserve_checkpoint_ready{checkpoint="fake-omni"} 1')
    expect(metrics).toContain('omniserve_ready 1')
    up = { instruct: false, thinker: false }
    expect(await ready(server)).toMatchObject({
      status: 503,
      body: { status: 'not_ready', reason: 'instruct is restarting' },
    })
  })
})

describe('temporary errors', () => {
  it('say when to retry: a full queue, a limit, a stop', async () => {
    await using busy = await startTestServer({ maxActive: 1, maxWaiting: 0 }, fakeEngine({ startDelayMs: 60_000 }))
    const leaving = new AbortController()
    const running = busy.chat(hello, { signal: leaving.signal })
    await until(() => busy.services.queue.active > 0)
    const full = await busy.chat(hello)
    expect([full.status, full.headers.get('retry-after')]).toEqual([503, '2'])
    leaving.abort()
    await running.catch(() => undefined)

    await using limited = await startTestServer({ rateLimit: true }, undefined, { now: () => 0 })
    const { requestsPerMinute } = limited.services.catalogue.find('qwen3-omni-flash')!.rules.rateLimit
    const refused = []
    for (let i = 0; i <= requestsPerMinute; i++) {
      const response = await limited.chat({ ...hello, max_tokens: 1 })
      await response.text()
      if (response.status === 429) refused.push(response.headers.get('retry-after'))
    }
    expect(refused).toEqual(['1'])

    const shown = await fetch(`${limited.baseUrl}/models`, { headers: { origin: 'http://localhost' } })
    expect(shown.headers.get('access-control-expose-headers')).toContain('retry-after')
    const held = limited.services.shutdown.enter()
    const begun = limited.services.shutdown.begin(10_000)
    const stopping = await limited.chat(hello)
    expect([stopping.status, stopping.headers.get('retry-after')]).toEqual([503, '2'])
    held[Symbol.dispose]()
    await begun
    // What does not pass has no such message.
    await using plain = await startTestServer()
    expect((await plain.chat({ ...hello, temperature: 9 })).headers.get('retry-after')).toBeNull()
  })
})

describe('a model that is not in the catalogue', () => {
  it('is answered with the available names on every route', async () => {
    await using server = await startTestServer({ region: 'cn' })
    const answers = [
      await server.chat({ ...hello, model: 'gpt-4o' }),
      await fetch(`${server.baseUrl}/models/gpt-4o`),
      await fetch(`${server.baseUrl}/voices?model=gpt-4o`),
      await fetch(`${server.baseUrl}/tokens/count`, {
        method: 'POST',
        body: JSON.stringify({ ...hello, model: 'gpt-4o' }),
      }),
    ]
    const names = server.services.catalogue.models.map(({ id }) => id).join(', ')
    for (const answer of answers) {
      expect(answer.status).toBe(404)
      const body = apiErrorBodySchema.parse(await answer.json())
      const text = 'The model `gpt-4o` does not exist or you do not have access to it.'
      expect(body.error.message).toBe(`${text} Models of region cn: ${names}.`)
    }
  })
})
