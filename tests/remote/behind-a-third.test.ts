/**
 * Two omniserves with nano behind a third, all on this machine: one is killed during requests and restarted, then the
 * other is drained, then the first gets SIGTERM and is restarted. Nothing hangs or is duplicated, a reply that had
 * begun at the killed one ends with one error, and usage adds up.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest'
import { clusterStateSchema } from '../../src/protocol/index.ts'
import { freePort } from '../../testing/free-port.ts'
import { until } from '../../testing/until.ts'
import { readReply, type Reply, usageAddsUp } from '../support/reply.ts'
import { serve } from '../support/serve.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'omniserve-third-'))
const children = new Set<ChildProcess>()
// 200 by hand: OMNISERVE_TEST_REQUESTS=200
const REQUESTS = Number(process.env['OMNISERVE_TEST_REQUESTS'] ?? 20)

const nano = ['--model', 'nano', '--context-length', '1024', '--speech-prompt', 'none']

vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 })

async function serveAt(port: number, ...args: string[]): Promise<ChildProcess> {
  const { child } = await serve(['--port', String(port), ...args], { home: folder })
  children.add(child)
  return child
}

let ports: readonly [a: number, b: number, front: number]
let a: ChildProcess

beforeAll(async () => {
  ports = [await freePort(), await freePort(), await freePort()]
  const file = path.join(folder, 'cluster.json')
  writeFileSync(
    file,
    JSON.stringify({
      adminKey: 'sk-admin',
      pools: {
        nano: {
          engine: 'omniserve',
          model: 'qwen3-omni-flash',
          replicas: [
            { name: 'a', url: `http://127.0.0.1:${ports[0]}` },
            { name: 'b', url: `http://127.0.0.1:${ports[1]}` },
          ],
          timeouts: { idle: 120, ask: 30 },
        },
      },
      models: { '*': 'nano' },
      balancing: { probeEvery: 0.3, ejectFor: 0.5, ejectForAtMost: 1 },
    }),
  )
  const [first] = await Promise.all([serveAt(ports[0], ...nano), serveAt(ports[1], ...nano)])
  a = first
  await serveAt(ports[2], '--config', file, '--speech-prompt', 'none')
})
afterAll(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGKILL')
    await once(child, 'close')
  }
  rmSync(folder, { recursive: true })
})

const speech = { modalities: ['text', 'audio'], audio: { voice: 'Ethan', format: 'wav' } }

async function ask(
  port: number,
  spoken: boolean,
): Promise<{ readonly by: string | null; readonly status: number; readonly reply?: Reply }> {
  const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'qwen3-omni-flash',
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0,
      max_tokens: 20,
      messages: [{ role: 'user', content: 'Who are you?' }],
      ...(spoken && speech),
    }),
  })
  const by = response.headers.get('x-omniserve-served-by')
  if (response.status !== 200) {
    await response.text()
    return { by, status: response.status }
  }
  return { by, status: 200, reply: await readReply(response) }
}

async function drain(name: string, draining: boolean): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${ports[2]}/admin/cluster/replicas/${name}`, {
    method: 'POST',
    headers: { authorization: 'Bearer sk-admin' },
    body: JSON.stringify({ draining }),
  })
  expect(response.status).toBe(200)
}

/** Six callers, each with one request after another, until they are stopped; then their answers. */
function callers(): () => Promise<Awaited<ReturnType<typeof ask>>[]> {
  let stopped = false
  onTestFinished(() => void (stopped = true))
  const goOn = async (spoken: boolean): Promise<Awaited<ReturnType<typeof ask>>[]> => {
    const answers = []
    while (!stopped) answers.push(await ask(ports[2], spoken))
    return answers
  }
  const all = Promise.all(Array.from({ length: 6 }, (_, number) => goOn(number % 2 === 0)))
  return async () => {
    stopped = true
    return (await all).flat()
  }
}

async function replicas() {
  const response = await fetch(`http://127.0.0.1:${ports[2]}/admin/cluster`, {
    headers: { authorization: 'Bearer sk-admin' },
  })
  return clusterStateSchema.parse(await response.json()).replicas
}

const stateOf = async (name: string) => (await replicas()).find((replica) => replica.name === name)?.state

it('loses no request when one is killed, one is drained, and one is restarted', async () => {
  const [written, spoken] = [(await ask(ports[1], false)).reply!, (await ask(ports[1], true)).reply!]
  expect([written.done, spoken.done, spoken.samples.length > 0]).toEqual([true, true, true])
  const outcomes: Awaited<ReturnType<typeof ask>>[] = []
  let next = 0
  let killed = false
  const caller = async (): Promise<void> => {
    while (next < REQUESTS) {
      const number = next
      next += 1
      if (number === 10) {
        a.kill('SIGKILL')
        killed = true
      }
      outcomes[number] = await ask(ports[2], number % 3 === 0)
    }
  }
  await Promise.all(Array.from({ length: 6 }, caller))
  expect([killed, outcomes.length]).toEqual([true, REQUESTS])

  let crashed = 0
  for (const [number, { status, reply }] of outcomes.entries()) {
    expect(status, `request ${number}`).toBe(200)
    const wanted = number % 3 === 0 ? spoken : written
    if (reply!.error) {
      // It had begun at the killed one: one error, nothing after it.
      expect(reply!.error.error.code).toBe('ModelUnavailable')
      expect([reply!.done, wanted.text.startsWith(reply!.text)]).toEqual([true, true])
      crashed += 1
      continue
    }
    expect([reply!.done, reply!.text, reply!.finish]).toEqual([true, wanted.text, wanted.finish])
    expect(reply!.samples.length).toBe(wanted.samples.length)
    expect(usageAddsUp(reply!.usage!)).toBe(true)
    expect(reply!.usage).toEqual(wanted.usage)
  }
  // At most those that were running there when it was killed.
  expect(crashed).toBeLessThanOrEqual(6)
  expect(['ejected', 'trial']).toContain(await stateOf('a'))

  // It is readmitted automatically.
  a = await serveAt(ports[0], ...nano)
  await until(async () => (await stateOf('a')) === 'up', 100)

  // The other is drained while six callers send requests.
  const drained = callers()
  await until(async () => ((await replicas()).find(({ name }) => name === 'b')?.live ?? 0) > 0)
  await drain('b', true)
  const running = drained()
  const after = await Promise.all([1, 2, 3].map(() => ask(ports[2], false)))
  expect(after.map(({ by }) => by)).toEqual(['a', 'a', 'a'])
  for (const { reply } of [...(await running), ...after]) expect([reply?.error, reply?.done]).toEqual([undefined, true])
  await until(async () => (await stateOf('b')) === 'drained', 20)

  // SIGTERM: running replies finish, new requests go to the other.
  await drain('b', false)
  await until(async () => (await stateOf('b')) === 'up', 20)
  const ordered = callers()
  await until(async () => ((await replicas()).find(({ name }) => name === 'a')?.live ?? 0) > 0)
  const ended = once(a, 'close')
  a.kill('SIGTERM')
  const during = await Promise.all([1, 2, 3, 4].map(() => ask(ports[2], false)))
  for (const { reply } of [...(await ordered()), ...during])
    expect([reply?.error, reply?.done]).toEqual([undefined, true])
  expect(await ended).toEqual([0, null])
  await until(async () => ['ejected', 'trial'].includes((await stateOf('a')) ?? ''), 100)
  a = await serveAt(ports[0], ...nano)
  await until(async () => (await stateOf('a')) === 'up', 100)
  await until(async () => (await ask(ports[2], false)).by === 'a', 20)
})
