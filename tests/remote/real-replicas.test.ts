/**
 * Two real vLLM-Omni with nano behind `omniserve serve --config`, by hand: the programs of `testdata/samples`,
 * aborts, `kill -9`, SIGTERM. See reference/remote-peer/README.md. `OMNISERVE_REAL_REPLICAS='VENV NANO [PORT PORT]'`;
 * servers of an earlier run are used again.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { clusterStateSchema, type Usage } from '../../src/protocol/index.ts'
import { loudness, readReply, type Reply, usageAddsUp } from '../support/reply.ts'
import { openSamples, SAMPLE_KEY, type Samples, usagesIn } from '../support/samples.ts'
import { serve, type ServeProcess } from '../support/serve.ts'

const given = process.env['OMNISERVE_REAL_REPLICAS'] ?? ''
const [venv = '', nano = '', ...ports] = given.split(' ')
const startScript = fileURLToPath(new URL('../../reference/remote-peer/start.sh', import.meta.url))
const NAMES = ['a', 'b'] as const
type Name = (typeof NAMES)[number]

if (given !== '') vi.setConfig({ testTimeout: 1_800_000, hookTimeout: 1_800_000 })

const urlOf = (name: Name): string => `http://127.0.0.1:${ports[NAMES.indexOf(name)] ?? 18_102 + NAMES.indexOf(name)}`
const pidFile = (name: Name): string => `${nano}.${name}.pid`
const pidOf = (name: Name): number => Number(readFileSync(pidFile(name), 'utf8'))
const note = (text: string): void => void process.stdout.write(`${text}\n`)

async function isHealthy(name: Name): Promise<boolean> {
  try {
    return (await fetch(`${urlOf(name)}/health`, { signal: AbortSignal.timeout(5000) })).status === 200
  } catch {
    return false
  }
}

/** Starts one as the leader of a process group, unless it runs; it keeps running when the tests have ended. */
async function startReplica(name: Name): Promise<void> {
  const begun = performance.now()
  if (!(await isHealthy(name))) {
    const log = openSync(`${nano}.${name}.log`, 'a')
    const port = new URL(urlOf(name)).port
    const child = spawn('sh', [startScript, 'omni', venv, nano, port], { detached: true, stdio: ['ignore', log, log] })
    child.unref()
    writeFileSync(pidFile(name), String(child.pid))
    child.once('exit', (code) => note(`replica ${name} ended with ${code}`))
  }
  await vi.waitFor(async () => expect(await isHealthy(name)).toBe(true), { timeout: 900_000, interval: 1000 })
  note(`replica ${name} healthy after ${seconds(begun)} s`)
}

/** What the first process of a group leaves behind when it is killed. */
function endGroup(name: Name): void {
  try {
    process.kill(-pidOf(name), 'SIGKILL')
  } catch {
    // All of it has ended.
  }
}

function seconds(since: number, until = performance.now()): string {
  return ((until - since) / 1000).toFixed(2)
}

let samples: Samples
let front: ServeProcess
const folder = mkdtempSync(path.join(tmpdir(), 'omniserve-real-'))

beforeAll(async () => {
  if (given === '') return
  samples = await openSamples({ python: path.join(venv, 'bin/python'), timeout: 300_000 })
  // One after the other: each loads for minutes.
  for (const name of NAMES) await startReplica(name)
  const file = path.join(folder, 'cluster.json')
  const config = {
    apiKey: [SAMPLE_KEY],
    adminKey: 'sk-admin',
    mediaAllowHost: [samples.files.host],
    pools: {
      omni: {
        engine: 'vllm-omni',
        model: 'nano',
        replicas: NAMES.map((name) => ({ name, url: urlOf(name) })),
        // nano ends speech with another token than the published checkpoints.
        talker: {
          temperature: 0.9,
          top_k: 50,
          repetition_penalty: 1.05,
          max_tokens: 375,
          seed: 42,
          stop_token_ids: [358],
        },
      },
    },
    models: { '*': 'omni' },
    balancing: { probeEvery: 1, ejectFor: 5 },
  }
  writeFileSync(file, JSON.stringify(config))
  front = await serve(['--config', file])
})
afterAll(async () => {
  rmSync(folder, { recursive: true })
  if (given === '') return
  await front[Symbol.asyncDispose]()
  await samples[Symbol.asyncDispose]()
})

interface Asked {
  /** Which replica answers, once it has begun; null for a refusal. */
  readonly begun: Promise<string | null>
  readonly outcome: Promise<Outcome>
}

interface Outcome {
  readonly by: string | null
  readonly status: number
  readonly reply: Reply | undefined
  readonly begunAt: number
  readonly endedAt: number
}

const spoken = { modalities: ['text', 'audio'], audio: { voice: 'Cherry', format: 'wav' } }

function ask(text: string, body: object, signal?: AbortSignal): Asked {
  const response = fetch(`${front.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${SAMPLE_KEY}` },
    body: JSON.stringify({
      model: 'qwen3-omni-flash',
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0,
      max_tokens: 400,
      messages: [{ role: 'user', content: text }],
      ...body,
    }),
    ...(signal && { signal }),
  })
  const begun = response.then(({ headers }) => headers.get('x-omniserve-served-by'))
  const outcome = (async (): Promise<Outcome> => {
    const answer = await response
    const begunAt = performance.now()
    const reply = answer.status === 200 ? await readReply(answer) : undefined
    return { by: await begun, status: answer.status, reply, begunAt, endedAt: performance.now() }
  })()
  return { begun, outcome }
}

async function replicas() {
  const response = await fetch(`${front.url}/admin/cluster`, { headers: { authorization: 'Bearer sk-admin' } })
  return clusterStateSchema.parse(await response.json()).replicas
}

/** Requests that moved to another replica. */
const movesFrom = async (name: Name) => (await replicas()).find((replica) => replica.name === name)!.retries

const liveAt = async (name: Name) => (await replicas()).find((replica) => replica.name === name)!.live

const stateOf = async (name: Name) => (await replicas()).find((replica) => replica.name === name)?.state

/** Requests running and waiting at both. */
async function usedSlots(): Promise<number> {
  let sum = 0
  for (const name of NAMES) {
    const page = await (await fetch(`${urlOf(name)}/metrics`)).text()
    for (const kind of ['running', 'waiting'])
      sum += Number(new RegExp(`^vllm_omni:num_requests_${kind}\\{[^}]*\\} (\\S+)`, 'm').exec(page)?.[1])
  }
  return sum
}

/**
 * Ends a replica under eight spoken requests, once one of them has begun there or while all wait, and checks the
 * outcomes.
 */
async function endOneUnderLoad(
  name: Name,
  signal: 'SIGKILL' | 'SIGTERM',
  when: 'begun' | 'waiting',
  whole: Reply,
): Promise<void> {
  for (const each of NAMES) {
    await startReplica(each)
    await vi.waitFor(async () => expect(await stateOf(each)).toBe('up'), { timeout: 600_000, interval: 200 })
  }
  const moves = await movesFrom(name)
  const sent = performance.now()
  const asked = Array.from({ length: 8 }, () => ask(LONG, spoken))
  if (when === 'waiting')
    await vi.waitFor(async () => expect(await liveAt(name)).toBe(4), { timeout: 20_000, interval: 1 })
  else {
    await Promise.any(
      asked.map(async ({ begun }) => {
        if ((await begun) !== name) throw new Error('at the other')
      }),
    )
  }
  const killed = performance.now()
  process.kill(pidOf(name), signal)
  const outcomes = await Promise.all(asked.map(({ outcome }) => outcome))
  note(
    `${signal} of ${name} ${seconds(sent, killed)} s after eight spoken requests; all have ended after ${seconds(killed)} s more`,
  )
  for (const { by, status, reply, begunAt, endedAt } of outcomes) {
    const audio = `${((reply?.samples.length ?? 0) / 24_000).toFixed(1)} s of speech`
    const how = reply?.error ? `error ${reply.error.error.code}` : reply?.finish
    note(
      `  ${by}: ${status}, begun at ${seconds(sent, begunAt)} s, ended at ${seconds(sent, endedAt)} s, ${how}, ${audio}`,
    )
  }
  for (const { by, status, reply } of outcomes) {
    expect(status).toBe(200)
    expect(reply!.done).toBe(true)
    if (reply!.error) {
      // It had begun at the one that ended.
      expect(by).toBe(name)
      expect(reply!.error.error.code).toBe('ModelUnavailable')
      expect(whole.text.startsWith(reply!.text)).toBe(true)
      continue
    }
    expect([reply!.text, reply!.finish]).toEqual([whole.text, whole.finish])
    expect(reply!.samples.length).toBeGreaterThan(24_000)
    expect(usageAddsUp(reply!.usage!)).toBe(true)
  }
  // A server that is asked to end may finish what it has first, and a slow one sends a reply when all of it is done.
  const unfinished = outcomes.filter(
    ({ by, begunAt, endedAt }) => by === name && begunAt < killed && endedAt > killed + 1000,
  )
  if (signal === 'SIGKILL') expect(unfinished.filter(({ reply }) => !reply!.error)).toEqual([])
  expect(outcomes.some(({ reply }) => !reply!.error)).toBe(true)

  note(`  moved to the other: ${(await movesFrom(name)) - moves}`)

  const away = performance.now()
  await vi.waitFor(async () => expect(await stateOf(name)).toBe('ejected'), { timeout: 60_000, interval: 100 })
  endGroup(name)
  await startReplica(name)
  await vi.waitFor(async () => expect(await stateOf(name)).toBe('up'), { timeout: 600_000, interval: 200 })
  note(`  ${name} is up again by itself ${seconds(away)} s later, its start included`)
  const served = new Set<string | null>()
  for (let count = 0; count < 20 && !served.has(name); count += 1) served.add((await ask('Hi', {}).outcome).by)
  expect(served).toContain(name)
}

const LONG = 'Count from 1 to 48.'

describe.skipIf(given === '')('two real vLLM-Omni behind this server', { retry: 0 }, () => {
  let whole: Reply
  beforeAll(async () => {
    if (given !== '') whole = (await ask(LONG, spoken).outcome).reply!
  })

  it('run the samples unchanged', async () => {
    const totals: Usage[] = []
    for (const name of ['spoken.mjs', 'conversation.mjs', 'media.mjs', 'spoken.py']) {
      const output = await samples.run(name, front.url)
      note(`${name}: ${output.trim().replaceAll('\n', ' | ')}`)
      totals.push(...usagesIn(output))
    }
    for (const name of ['spoken.sh', 'conversation.sh']) {
      const reply = await readReply(new Response(await samples.run(name, front.url)))
      note(`${name}: ${reply.text} | ${reply.samples.length} samples | ${JSON.stringify(reply.usage)}`)
      expect([reply.error, reply.done, reply.text.length > 0]).toEqual([undefined, true, true])
      if (name === 'spoken.sh') expect(loudness(reply.samples)).toBeGreaterThan(0.001)
      totals.push(reply.usage!)
    }
    expect(totals).toHaveLength(13)
    expect(totals.every(usageAddsUp)).toBe(true)
    // nano without a reasoning parser does not think, and says so.
    const thinking = await samples.run('thinking.mjs', front.url).catch((error: unknown) => String(error))
    expect(thinking).toContain('400')
  })

  it('give the same answers, with speech and usage', async () => {
    const short = await ask('Who are you?', spoken).outcome
    expect(short.reply!.text).toBe('I am nano, a very small omni model. I can see, hear and speak.')
    note(
      `"Who are you?": ${(short.reply!.samples.length / 24_000).toFixed(2)} s of speech, ${JSON.stringify(short.reply!.usage)}`,
    )
    note(`"${LONG}": ${whole.text} | ${(whole.samples.length / 24_000).toFixed(2)} s of speech, ${whole.finish}`)
    expect([whole.error, whole.done]).toEqual([undefined, true])
  })

  it.each([
    ['written', {}],
    ['spoken', spoken],
  ])('free a slot within a second after the abort of a %s reply', async (kind, body) => {
    await vi.waitFor(async () => expect(await usedSlots()).toBe(0), { timeout: 30_000, interval: 50 })
    const controller = new AbortController()
    const { begun, outcome } = ask(LONG, body, controller.signal)
    begun.catch(() => undefined)
    await vi.waitFor(async () => expect(await usedSlots()).toBe(1), { timeout: 10_000, interval: 10 })
    const aborted = performance.now()
    controller.abort()
    await expect(outcome).rejects.toThrow()
    await vi.waitFor(async () => expect(await usedSlots()).toBe(0), { timeout: 30_000, interval: 10 })
    const took = performance.now() - aborted
    note(`abort of a ${kind} reply: the slot is free after ${took.toFixed(0)} ms`)
    expect(took).toBeLessThan(1000)
  })

  it.each([
    ['a', 'SIGKILL', 'begun'],
    ['b', 'SIGTERM', 'begun'],
    ['a', 'SIGKILL', 'waiting'],
    ['b', 'SIGTERM', 'waiting'],
  ] as const)(
    'lose nothing but what had begun when %s gets %s while the first of eight spoken requests there is %s',
    async (name, signal, when) => endOneUnderLoad(name, signal, when, whole),
  )
})
