/**
 * `omniserve serve` when its engine process ends during a reply, and when a conversation is too long: the caller's
 * view.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { until } from '../testing/until.ts'
import { readReply } from './support/reply.ts'

const repository = fileURLToPath(new URL('../', import.meta.url))
const main = path.join(repository, 'src', 'cli', 'main.ts')
const checkpoint = path.join(repository, 'testdata', 'checkpoints', 'tiny-mixed')

/** The engine process among a process's children, by its module. */
function engineProcess(parent: number): number {
  const children = readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false
    try {
      const status = readFileSync(`/proc/${name}/status`, 'utf8')
      return (
        status.includes(`\nPPid:\t${parent}\n`) &&
        readFileSync(`/proc/${name}/cmdline`, 'utf8').includes('process-main')
      )
    } catch {
      return false
    }
  })
  expect(children.length).toBe(1)
  return Number(children[0])
}

describe.runIf(process.platform === 'linux')('omniserve serve with a real checkpoint', () => {
  let server: ChildProcessByStdio<null, Readable, null>
  let url = ''
  beforeAll(async () => {
    server = spawn(process.execPath, [main, 'serve', '--port', '0', '--model', checkpoint, '--threads', '1'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [line]: string[] = await once(createInterface({ input: server.stdout }), 'line')
    url = line?.slice('ready on '.length) ?? ''
  })
  afterAll(() => server.kill('SIGKILL'))

  const ask = (content: string, change: object = {}): Promise<Response> =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({
        model: 'qwen3-omni-flash',
        stream: true,
        messages: [{ role: 'user', content }],
        seed: 1,
        ...change,
      }),
    })

  it('reports an engine crash to its caller, and answers the next one', async () => {
    const engine = engineProcess(server.pid!)
    const response = await ask('Tell me everything.', {
      max_tokens: 1500,
      modalities: ['text', 'audio'],
      audio: { voice: 'Cherry', format: 'wav' },
    })
    expect(response.status).toBe(200)
    process.kill(engine, 'SIGKILL')
    const cut = await readReply(response)
    expect(cut.error?.error.message).toBeTruthy()
    expect(cut.finish).toBeUndefined()
    const { reason } = (await (await fetch(`${url}/ready`)).json()) as { reason?: string }
    expect(reason ?? '').not.toContain('last output') // what was logged while loading is not the reason
    let again = await ask('hi', { max_tokens: 3 })
    while (again.status !== 200) {
      expect(again.status).toBe(503)
      await again.text()
      await new Promise((resolve) => setTimeout(resolve, 200))
      again = await ask('hi', { max_tokens: 3 })
    }
    const reply = await readReply(again)
    expect([reply.error, reply.done]).toEqual([undefined, true])
  })

  it('refuses a conversation longer than the context before it sends anything', async () => {
    const response = await ask('many words '.repeat(3000))
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { message: expect.stringMatching(/length|context|tokens/i) } })
  })

  it('aborts a reply whose caller disconnects', async () => {
    const engine = engineProcess(server.pid!)
    const controller = new AbortController()
    onTestFinished(() => {
      controller.abort()
      process.kill(engine, 'SIGCONT')
    })
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      signal: controller.signal,
      body: JSON.stringify({
        model: 'qwen3-omni-flash',
        stream: true,
        max_tokens: 2000,
        messages: [{ role: 'user', content: 'Go on and on.' }],
      }),
    })
    await response.body?.getReader().read()
    // It writes no more while the metrics are asked for.
    process.kill(engine, 'SIGSTOP')
    const active = async (): Promise<string | undefined> =>
      /^omniserve_engine_active (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1]
    expect(await active()).toBe('1')
    controller.abort()
    process.kill(engine, 'SIGCONT')
    await until(async () => (await active()) === '0', 20)
  })
})
