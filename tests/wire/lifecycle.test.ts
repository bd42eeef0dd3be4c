/** Callers that disconnect or read slowly, errors in mid-stream, a full queue, keys, origins, shutdown. */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { ConfigError } from '../../src/config/index.ts'
import { EngineError } from '../../src/contract/index.ts'
import type { FakeEngine } from '../../testing/fake-engine.ts'
import { eventually, until } from '../../testing/until.ts'
import { readReply } from '../support/reply.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'

const hello = { model: 'qwen3-omni-flash', stream: true, messages: [{ role: 'user', content: 'hi' }] }
const long = (words: number) => () => ({ text: 'word '.repeat(words) })

const idle = (server: TestServer) => () =>
  server.services.queue.active === 0 && server.services.shutdown.running === 0 && server.engine.status().active === 0

describe('a finished reply', () => {
  it('is released by the engine, streamed or whole', async () => {
    await using server = await startTestServer({ lenientNonStream: true })
    expect((await readReply(await server.chat(hello))).done).toBe(true)
    await until(idle(server))
    expect((await server.chat({ ...hello, stream: false })).status).toBe(200)
    await until(idle(server))
    expect(server.engine.aborted).toEqual([])
  })
})

describe('a caller', () => {
  it('that disconnects during a stream aborts the reply', async () => {
    await using server = await startTestServer({}, fakeEngine({ reply: long(100_000), tokenDelayMs: 2 }))
    const leaving = new AbortController()
    const response = await server.chat(hello, { signal: leaving.signal })
    await response.body?.getReader().read()
    leaving.abort()
    await until(() => server.engine.aborted.length === 1)
    await until(idle(server))
    expect((await readReply(await server.chat({ ...hello, max_tokens: 1 }))).done).toBe(true)
  })

  it('that disconnects before the reply begins aborts it', async () => {
    await using server = await startTestServer({}, fakeEngine({ startDelayMs: 60_000 }))
    const leaving = new AbortController()
    const pending = server.chat(hello, { signal: leaving.signal })
    await until(() => server.engine.requests.length === 1)
    leaving.abort()
    await expect(pending).rejects.toThrow()
    await until(() => server.engine.aborted.length === 1)
    await until(idle(server))
  })

  it('that does not read slows down only its own reply', async () => {
    let made = 0
    const engine = fakeEngine({ reply: long(40_000) })
    const counting = {
      ...engine,
      generate: (...args: Parameters<typeof engine.generate>) => count(engine.generate(...args)),
    }
    async function* count(events: ReturnType<typeof engine.generate>) {
      for await (const event of events) {
        made += 1
        yield event
      }
    }
    await using server = await startTestServer({}, counting)
    const { port } = new URL(server.url)
    const socket = connect(Number(port), '127.0.0.1')
    socket.pause()
    const body = JSON.stringify({ ...hello, modalities: ['text', 'audio'] })
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    await until(() => made > 100)
    let before = -1
    while (before !== made) {
      before = made
      await sleep(150)
    }
    expect(made).toBeLessThan(20_000)
    expect((await readReply(await server.chat({ ...hello, max_tokens: 5 }))).done).toBe(true)
    socket.destroy()
    await until(idle(server))
  })
})

/** Asks for a long reply and never reads it. */
function unreadingCaller(server: TestServer) {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
  socket.pause()
  socket.on('error', () => {})
  const body = JSON.stringify({ ...hello, modalities: ['text', 'audio'] })
  socket.write(`POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  return socket
}

describe('a caller that never reads', () => {
  it('is disconnected after the stall timeout, and the next request runs', async () => {
    await using server = await startTestServer({ stallTimeout: 0.3, maxActive: 1 }, fakeEngine({ reply: long(40_000) }))
    const socket = unreadingCaller(server)
    await until(() => server.engine.requests.length === 1)
    expect((await readReply(await server.chat({ ...hello, max_tokens: 3 }))).done).toBe(true)
    expect(server.engine.aborted).toHaveLength(1)
    socket.destroy()
  })

  it('does not prevent the server from stopping or timing out', async () => {
    const server = await startTestServer({}, fakeEngine({ reply: long(40_000) }))
    const socket = unreadingCaller(server)
    await until(() => server.engine.requests.length === 1)
    await sleep(300)
    await server.stop(100)
    expect(server.engine.aborted).toHaveLength(1)
    socket.destroy()
    await using timed = await startTestServer({ requestTimeout: 0.5 }, fakeEngine({ reply: long(40_000) }))
    const other = unreadingCaller(timed)
    await until(() => timed.engine.aborted.length === 1)
    await until(idle(timed))
    other.destroy()
  })
})

describe('bodies that arrive slowly', () => {
  it('share one memory limit, and free it', async () => {
    const maxBodyBytes = 10_000
    await using server = await startTestServer({ maxBodyBytes })
    const sockets = Array.from({ length: 16 }, () => {
      const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
      socket.on('error', () => {})
      socket.write(`POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${maxBodyBytes}\r\n\r\n{`)
      return socket
    })
    await until(() => server.services.bodies.held === 16 * maxBodyBytes)
    const refused = await server.chat(hello)
    expect([refused.status, await refused.json()]).toMatchObject([503, { error: { code: 'ModelServingError' } }])
    const counted = await fetch(`${server.baseUrl}/tokens/count`, { method: 'POST', body: JSON.stringify(hello) })
    expect(counted.status).toBe(503)
    for (const socket of sockets) socket.destroy()
    await until(() => server.services.bodies.held === 0)
    expect((await readReply(await server.chat(hello))).done).toBe(true)
    await until(() => server.services.bodies.held === 0)
  })
})

/**
 * Sends `head` and then a byte now and again, never the end. Resolves with the whole answer, once the server has
 * closed.
 */
function slowCaller(server: TestServer, head: string, trickleMs: number): Promise<string> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
  let answer = ''
  socket.on('data', (bytes) => (answer += bytes.toString()))
  socket.on('error', () => {})
  socket.write(head)
  const trickle = setInterval(() => socket.writable && socket.write(' '), trickleMs)
  return new Promise((resolve) => {
    socket.once('close', () => {
      clearInterval(trickle)
      resolve(answer)
    })
  })
}

describe('a request that never arrives completely', () => {
  const post = 'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n'

  it.each([
    ['a small body', `${post}content-length: 1000\r\n\r\n{`],
    ['a large body', `${post}content-length: 10000000\r\n\r\n{`],
    ['a body in chunks', `${post}transfer-encoding: chunked\r\n\r\n1\r\n{\r\n`],
    ['a body to be counted', `${post.replace('chat/completions', 'tokens/count')}content-length: 1000\r\n\r\n{`],
  ])('%s is cut off after a while, with a reason, and costs nothing more', async (_, head) => {
    await using server = await startTestServer({ bodyTimeout: 0.3 })
    const trickleMs = head.includes('chunked') ? 10_000 : 20
    const answer = await slowCaller(server, head, trickleMs)
    expect(answer).toMatch(/^HTTP\/1.1 408 /)
    expect(answer).toContain('it did not arrive within 0.3 s')
    await until(idle(server))
    expect(server.services.bodies.held).toBe(0)
    expect((await readReply(await server.chat(hello))).done).toBe(true)
  })

  it('includes its headers', async () => {
    await using server = await startTestServer({ bodyTimeout: 0.3 })
    expect(await slowCaller(server, `${post}x-slow: `, 20)).toMatch(/^HTTP\/1.1 408 /)
    expect((await readReply(await server.chat(hello))).done).toBe(true)
  })
})

describe('a reply that fails after it began', () => {
  it('ends with the error as an event, and the end mark', async () => {
    const error = new EngineError('engine_crashed', 'the process ended')
    await using server = await startTestServer({}, fakeEngine({ failAt: { event: 3, error } }))
    const response = await server.chat(hello)
    expect(response.status).toBe(200)
    const reply = await readReply(response)
    expect(reply.error?.error).toMatchObject({ code: 'ModelUnavailable' })
    expect(reply.error?.request_id).toBe(response.headers.get('x-request-id'))
    expect(reply.done).toBe(true)
    await until(idle(server))
    await eventually(async () => {
      const metrics = await (await fetch(`${server.url}/metrics`)).text()
      expect(metrics).toContain('omniserve_errors_total{code="ModelUnavailable",status="503"} 1')
    })
  })

  it('at the time limit ends with a timeout error', async () => {
    await using server = await startTestServer(
      { requestTimeout: 1 },
      fakeEngine({ reply: long(1000), tokenDelayMs: 20 }),
    )
    const reply = await readReply(await server.chat(hello))
    expect(reply.error?.error.code).toBe('RequestTimeOut')
    await until(idle(server))
  })
})

describe('the queue', () => {
  it('refuses requests beyond its limit at once, and serves the others in order', async () => {
    const fake = fakeEngine()
    let begin = (): void => undefined
    const begun = new Promise<void>((resolve) => (begin = resolve))
    const engine: FakeEngine = {
      ...fake,
      generate: async function* (...args: Parameters<typeof fake.generate>) {
        await begun
        yield* fake.generate(...args)
      },
    }
    await using server = await startTestServer({ maxActive: 1, maxWaiting: 2 }, engine)
    const all = Array.from({ length: 6 }, () => server.chat(hello))
    let answered = 0
    for (const pending of all) void pending.then(() => (answered += 1))
    // The three that are refused are answered while the first has not begun.
    await until(() => answered === 3)
    begin()
    const statuses = (
      await Promise.all(
        all.map(async (pending) => {
          const response = await pending
          await response.text()
          return response.status
        }),
      )
    ).toSorted((a, b) => a - b)
    expect(statuses).toEqual([200, 200, 200, 503, 503, 503])
    await until(idle(server))
  })
})

describe('stopping', () => {
  it('finishes replies that have begun, refuses new ones', async () => {
    const server = await startTestServer({}, fakeEngine({ reply: long(40), tokenDelayMs: 10 }))
    const response = await server.chat(hello)
    const stopped = server.stop(10_000)
    const { port } = new URL(server.url)
    await expect(fetch(`http://127.0.0.1:${port}/health`, { headers: { connection: 'close' } })).rejects.toThrow()
    const reply = await readReply(response)
    expect([reply.finish, reply.done, reply.text.length]).toEqual(['stop', true, 200])
    await stopped
    await server.stop()
  })

  it('ends replies after the grace period with an error in the stream', async () => {
    const server = await startTestServer({}, fakeEngine({ reply: long(10_000), tokenDelayMs: 5 }))
    const response = await server.chat(hello)
    const reading = readReply(response)
    await server.stop(100)
    const reply = await reading
    expect(reply.error?.error.message).toContain('The server is stopping.')
  })

  it('is seen by /ready', async () => {
    await using server = await startTestServer()
    expect((await fetch(`${server.url}/ready`)).status).toBe(200)
    const running = server.services.shutdown.enter()
    const begun = server.services.shutdown.begin(10)
    const response = await fetch(`${server.url}/ready`)
    expect([response.status, await response.json()]).toEqual([
      503,
      expect.objectContaining({ status: 'not_ready', reason: 'the server is stopping' }),
    ])
    expect((await server.chat(hello)).status).toBe(503)
    running[Symbol.dispose]()
    await begun
  })
})

describe('keys and origins', () => {
  it('are required when set, on the API and the metrics only', async () => {
    await using server = await startTestServer({ apiKey: ['one', 'two'] })
    const get = async (path: string, key?: string) =>
      (await fetch(`${server.url}${path}`, key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } }))
        .status
    expect(await get('/v1/models', 'two')).toBe(200)
    expect(await get('/v1/models', 'Two')).toBe(401)
    expect(await get('/v1/models')).toBe(401)
    expect(await get('/v1/nothing')).toBe(401)
    expect(await get('/metrics')).toBe(401)
    expect(await get('/metrics', 'one')).toBe(200)
    expect(await get('/health')).toBe(200)
    expect(await get('/ready')).toBe(200)
    expect(await get('/openapi.json')).toBe(200)
  })

  it('are required on a public host', async () => {
    await expect(startTestServer({ host: '0.0.0.0' })).rejects.toThrow(ConfigError)
    await using open = await startTestServer({ host: '0.0.0.0', apiKey: ['k'] })
    expect(open.url).toMatch(/^http:\/\/0\.0\.0\.0:\d+$/)
  })

  it('let only local pages call a keyless server', async () => {
    await using server = await startTestServer()
    const from = (origin: string, init: RequestInit = {}) =>
      fetch(`${server.baseUrl}/models`, { ...init, headers: { origin, ...(init.headers as Record<string, string>) } })
    const local = await from('http://localhost:5173')
    expect([local.status, local.headers.get('access-control-allow-origin')]).toEqual([200, 'http://localhost:5173'])
    expect((await from('https://evil.example')).status).toBe(403)
    expect((await from('null')).status).toBe(403)
    const preflight = await from('http://127.0.0.1:3000', {
      method: 'OPTIONS',
      headers: {
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,x-stainless-os',
      },
    })
    expect([preflight.status, preflight.headers.get('access-control-allow-headers')]).toEqual([
      204,
      'authorization,x-stainless-os',
    ])
    // Errors carry the headers too, or pages could not read them.
    const bad = await fetch(`${server.baseUrl}/models/none`, { headers: { origin: 'http://localhost' } })
    expect([bad.status, bad.headers.get('access-control-allow-origin')]).toEqual([404, 'http://localhost'])
  })

  it('let any page call a server with keys, unless origins are named', async () => {
    await using server = await startTestServer({ apiKey: ['k'] })
    const headers = { origin: 'https://app.example', authorization: 'Bearer k' }
    expect((await fetch(`${server.baseUrl}/models`, { headers })).headers.get('access-control-allow-origin')).toBe(
      'https://app.example',
    )
    await using named = await startTestServer({ apiKey: ['k'], corsOrigin: ['https://other.example'] })
    expect((await fetch(`${named.baseUrl}/models`, { headers })).headers.get('access-control-allow-origin')).toBeNull()
  })
})
