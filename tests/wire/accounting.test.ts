/** Usage of requests that end early, and whose earlier work a request may reuse. */
import { createConnection } from 'node:net'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { EngineError } from '../../src/contract/index.ts'
import { eventually, until } from '../../testing/until.ts'
import { serve } from '../support/serve.ts'
import { fakeEngine, startTestServer } from '../support/server.ts'

const messages = [{ role: 'user', content: 'Say something long.' }]
const body = { model: 'qwen3-omni-flash', stream: true, stream_options: { include_usage: true }, messages }
const longReply = () => ({ text: 'word '.repeat(500) })

async function metricsOf(url: string, headers: Record<string, string> = {}): Promise<(line: string) => number> {
  const text = await (await fetch(`${url}/metrics`, { headers })).text()
  return (line) =>
    Number(
      text
        .split('\n')
        .find((one) => one.startsWith(`${line} `))
        ?.slice(line.length) ?? 0,
    )
}

const requests = (route: string, model: string, status: number): string =>
  `omniserve_requests_total{route="${route}",model="${model}",status="${status}"}`
const outputText = 'omniserve_tokens_total{model="qwen3-omni-flash",direction="output",modality="text"}'

it('a reply whose caller disconnects is charged for what was generated', async () => {
  await using server = await startTestServer({}, fakeEngine({ reply: longReply, tokenDelayMs: 5 }))
  const leave = new AbortController()
  const response = await server.chat(body, { signal: leave.signal })
  const reader = response.body!.getReader()
  let seen = ''
  while (seen.split('"content":" word"').length < 20) seen += new TextDecoder().decode((await reader.read()).value)
  leave.abort()
  await until(() => server.engine.aborted.length > 0)
  await eventually(async () => {
    const value = await metricsOf(server.url)
    expect(value(outputText)).toBeGreaterThanOrEqual(19)
    expect(value(outputText)).toBeLessThan(500)
    expect(value('omniserve_cancelled_total{model="qwen3-omni-flash"}')).toBe(1)
  })
})

it('a reply that fails midway is charged for what was generated', async () => {
  const failAt = { event: 12, error: new EngineError('internal', 'broke') }
  await using server = await startTestServer({}, fakeEngine({ reply: longReply, failAt }))
  expect(await (await server.chat(body)).text()).toContain('internal_error')
  // Counted when the stream is closed, which its reader may see first.
  await eventually(async () => expect((await metricsOf(server.url))(outputText)).toBe(11))
})

it('every request is counted once under its model, including whole replies and token counts', async () => {
  await using server = await startTestServer({ lenientNonStream: true })
  await (await server.chat({ ...body, stream: false, stream_options: undefined })).text()
  await (await server.chat({ ...body, temperature: 9 })).text()
  const count = (given: unknown): Promise<Response> =>
    fetch(`${server.baseUrl}/tokens/count`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(given),
    })
  await (await count(body)).text()
  await (await count({ ...body, temperature: 9 })).text()
  await (await count({ ...body, model: 'made-up' })).text()
  await eventually(async () => {
    const value = await metricsOf(server.url)
    expect(value(requests('chat', 'qwen3-omni-flash', 200))).toBe(1)
    expect(value(requests('chat', 'qwen3-omni-flash', 400))).toBe(1)
    expect(value(requests('tokens-count', 'qwen3-omni-flash', 200))).toBe(1)
    expect(value(requests('tokens-count', 'qwen3-omni-flash', 400))).toBe(1)
    expect(value(requests('tokens-count', 'unknown', 404))).toBe(1)
  })
})

it('the rate limit applies to token counts', async () => {
  await using server = await startTestServer({ rateLimit: true })
  const statuses = new Set<number>()
  for (let i = 0; i < 200 && !statuses.has(429); i += 1) {
    const response = await fetch(`${server.baseUrl}/tokens/count`, { method: 'POST', body: JSON.stringify(body) })
    await response.text()
    statuses.add(response.status)
  }
  expect(statuses).toEqual(new Set([200, 429]))
})

it('a silent stream is kept open by comments', async () => {
  await using server = await startTestServer({ keepAlive: 0.05 }, fakeEngine({ tokenDelayMs: 200 }))
  const text = await (await server.chat(body)).text()
  expect(text.split(': keep-alive\n\n').length).toBeGreaterThan(3)
  await using silent = await startTestServer({ keepAlive: 0 }, fakeEngine({ tokenDelayMs: 200 }))
  expect(await (await silent.chat(body)).text()).not.toContain('keep-alive')
})

it('bodies that are declared but never sent reserve no memory', async () => {
  const maxBodyBytes = 1 << 20
  await using server = await startTestServer({ maxBodyBytes })
  const { hostname, port } = new URL(server.url)
  const idle = Array.from({ length: 20 }, () => createConnection(Number(port), hostname))
  await Promise.all(idle.map((socket) => once(socket, 'connect')))
  for (const socket of idle)
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: ${maxBodyBytes}\r\n\r\n{`,
    )
  await setTimeout(100)
  const response = await server.chat(body)
  expect(response.status).toBe(200)
  await response.text()
  for (const socket of idle) socket.destroy()
})

it('a conversation reuses its own prefix, never one of another key', async () => {
  await using server = await serve(['--api-key', 'sk-first', '--api-key', 'sk-second'])
  const hits = 'omniserve_prompt_tokens_total{checkpoint="nano",cache="hit"}'
  const ask = async (key: string, turns: { role: string; content: string }[]): Promise<string> => {
    const response = await fetch(`${server.url}/compatible-mode/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}` },
      body: JSON.stringify({ ...body, messages: turns, temperature: 0 }),
    })
    const chunks = (await response.text()).split('\n').filter((line) => line.startsWith('data: {'))
    const deltas = chunks.map((line): { choices: { delta: { content?: string } }[] } => JSON.parse(line.slice(6)))
    return deltas.map(({ choices }) => choices[0]?.delta.content ?? '').join('')
  }
  const first = [{ role: 'user', content: 'My name is Robin. What is 7 plus 5?' }]
  const authorization = { authorization: 'Bearer sk-first' }
  const answer = await ask('sk-first', first)
  const before = (await metricsOf(server.url, authorization))(hits)
  const second = [...first, { role: 'assistant', content: answer }, { role: 'user', content: 'Who are you?' }]
  const reused = await ask('sk-first', second)
  const after = await eventually(async () => {
    const now = (await metricsOf(server.url, authorization))(hits)
    expect(now - before).toBeGreaterThan(15)
    return now
  })
  // The same conversation under another key is computed from scratch, with the same reply.
  expect(await ask('sk-second', second)).toBe(reused)
  expect((await metricsOf(server.url, authorization))(hits) - after).toBeLessThan(5)
})
