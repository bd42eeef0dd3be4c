/**
 * `startServer` and `omniserve serve` over a configuration file: routes, headers, log, metrics, operator routes, a file
 * that changes.
 */
import { writeFile } from 'node:fs/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { clusterStateSchema, modelSchema } from '../../src/protocol/index.ts'
import { replayPeer } from '../../testing/replayed-peers.ts'
import type { ReplayServer } from '../../testing/replay-server.ts'
import { eventually, until } from '../../testing/until.ts'
import { type ClusterServer, startClusterServer } from '../support/cluster-server.ts'
import { readReply, usageAddsUp } from '../support/reply.ts'

const open: (() => PromiseLike<unknown>)[] = []
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

async function peer(kind: 'vllm' | 'vllm-omni' | 'sglang-omni', pace = 1): Promise<ReplayServer> {
  const server = await replayPeer(kind, { pace })
  open.push(() => server.kill())
  return server
}

async function start(config: object): Promise<ClusterServer> {
  const server = await startClusterServer(config)
  open.push(() => server[Symbol.asyncDispose]())
  return server
}

const speech = { modalities: ['text', 'audio'], audio: { voice: 'Cherry', format: 'wav' } }

const prices = {
  currency: 'USD',
  inputText: 1,
  inputAudio: 1,
  inputImageVideo: 1,
  outputText: 1,
  outputTextMultimodal: 1,
  outputAudio: 1,
} as const

describe('a server in front of pools', () => {
  it('answers from a vLLM-Omni on its own wire, and names the replica', async () => {
    const omni = await peer('vllm-omni')
    const { chat, log, server } = await start({
      pools: { gpu: { engine: 'vllm-omni', model: 'nano', replicas: [{ url: omni.url, name: 'gpu-a' }], prices } },
      models: { 'qwen3-omni-flash': 'gpu' },
    })
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const response = await chat(speech, { traceparent })
    expect(response.headers.get('x-omniserve-served-by')).toBe('gpu-a')
    const reply = await readReply(response)
    expect([reply.error, reply.done, reply.text]).toEqual([
      undefined,
      true,
      'I am nano, a very small omni model. I can see, hear and speak.',
    ])
    expect(usageAddsUp(reply.usage!)).toBe(true)
    expect(reply.usage!.completion_tokens_details).toEqual({ audio_tokens: 11, text_tokens: 18 })
    const sent = omni.seen.findLast(({ path: route }) => route.endsWith('completions'))!
    expect(sent.headers['traceparent']).toBe(traceparent)
    // The caller's key is never passed on.
    expect(sent.headers.authorization).toBeUndefined()
    await eventually(() => expect(log().at(-1)).toMatchObject({ served_by: 'gpu-a', outcome: 'stop' }))
    expect(log().at(-1)).toMatchObject({ poolCost: { currency: 'USD', total: expect.any(Number) as number } })
    // Counted when the stream is closed, which its reader may see first.
    const metrics = await eventually(async () => {
      const page = await (await fetch(`${server.url}/metrics`)).text()
      expect(page).toContain('omniserve_replica_requests_total{pool="gpu",replica="gpu-a",outcome="ok"} 1')
      return page
    })
    expect(metrics).toContain('omniserve_replica_up{pool="gpu",replica="gpu-a"} 1')
    expect(metrics).toMatch(/omniserve_replica_time_to_first_audio_seconds_count\{pool="gpu",replica="gpu-a"\} 1/)
    expect(metrics).toMatch(/omniserve_replica_cost_total\{replica="gpu-a",currency="USD"\} \d/)
    // No pool supports this API model.
    expect((await chat({ model: 'qwen-omni-turbo' })).status).toBe(503)
    const model = modelSchema.parse(await (await fetch(`${server.url}/v1/models/qwen3-omni-flash`)).json())
    expect(model.served_by).toMatchObject({ context_length: 4096, output_modalities: ['text', 'audio'] })
  })

  it('limits a reply to the remaining context where no engine counts prompts', async () => {
    const omni = await peer('vllm-omni')
    const { chat } = await start({
      pools: { gpu: { engine: 'vllm-omni', model: 'nano', replicas: [omni.url] } },
      models: { '*': 'gpu' },
    })
    const reply = await readReply(await chat({ max_tokens: 16_000 }))
    expect([reply.error, reply.done]).toEqual([undefined, true])
    const sent = omni.seen.findLast(({ path: route }) => route.endsWith('completions'))!
    const [thinker] = sent.body['sampling_params_list'] as { max_tokens: number }[]
    expect(thinker!.max_tokens).toBeLessThan(4096 - 12)
    expect(thinker!.max_tokens).toBeGreaterThan(2000)
  })

  it('uses pools in order, including a local checkpoint', async () => {
    const text = await peer('vllm')
    const { chat, server } = await start({
      pools: {
        here: { engine: 'local', checkpoint: 'nano' },
        gpu: { engine: 'vllm', model: 'nano', replicas: [text.url] },
      },
      models: { '*': ['gpu', 'here'] },
    })
    const written = await chat()
    expect(written.headers.get('x-omniserve-served-by')).toBe('gpu-1')
    await written.text()
    // Plain vLLM has no speech; the next pool does.
    const spoken = await chat(speech)
    expect(spoken.headers.get('x-omniserve-served-by')).toBe('here')
    expect((await readReply(spoken)).done).toBe(true)
    const ready = await (await fetch(`${server.url}/ready`)).json()
    expect(ready).toMatchObject({ status: 'ready', checkpoints: [{ checkpoint: 'default', ready: true }] })
  })

  it('refuses a voice where none can be selected, unless another pool has it or the configuration maps it', async () => {
    const [one, many] = [await peer('sglang-omni'), await peer('vllm-omni')]
    const sglang = { engine: 'sglang-omni', model: 'nano', replicas: [one.url], contextLength: 8192 }
    const omni = { engine: 'vllm-omni', model: 'nano', replicas: [many.url] }
    const { chat } = await start({
      pools: { one: sglang, any: { ...sglang, anyVoice: true }, many: omni },
      models: { 'qwen3-omni-flash': 'one', 'qwen-omni-turbo': 'any', 'qwen2.5-omni-7b': ['one', 'many'] },
    })
    const ask = async (body: object) => {
      const response = await chat(body)
      const text = await response.text()
      return [response.status, response.headers.get('x-omniserve-served-by'), text.includes('"audio"')]
    }
    const ethan = { ...speech, audio: { voice: 'Ethan', format: 'wav' } }
    const chelsie = { ...speech, audio: { voice: 'Chelsie', format: 'wav' } }
    expect(await ask(speech)).toEqual([400, null, false])
    expect(await ask({ modalities: ['text', 'audio'] })).toEqual([200, 'one-1', true])
    expect(await ask({ ...speech, model: 'qwen-omni-turbo' })).toEqual([200, 'any-1', true])
    expect(await ask({ ...ethan, model: 'qwen2.5-omni-7b' })).toEqual([200, 'one-1', true])
    expect(await ask({ ...chelsie, model: 'qwen2.5-omni-7b' })).toEqual([200, 'many-1', true])
  })

  it('names the whole path through another omniserve', async () => {
    const text = await peer('vllm')
    const inner = await start({
      pools: { gpu: { engine: 'vllm', model: 'nano', replicas: [{ name: 'gpu-a', url: text.url }] } },
      models: { '*': 'gpu' },
    })
    const outer = await start({
      pools: { site: { engine: 'omniserve', model: 'qwen3-omni-flash', replicas: [inner.server.url] } },
      models: { '*': 'site' },
    })
    const response = await outer.chat()
    expect(response.headers.get('x-omniserve-served-by')).toBe('site-1/gpu-a')
    const reply = await readReply(response)
    expect([reply.done, reply.text]).toEqual([true, 'I am nano, a very small omni model. I can see, hear and speak.'])
    expect(reply.usage!.completion_tokens_details).toEqual({ text_tokens: 18 })
  })

  it('forwards 429 with its retry time, and answers 503 when nothing is healthy', async () => {
    const text = await peer('vllm', 30)
    const { chat } = await start({
      pools: { gpu: { engine: 'vllm', model: 'nano', replicas: [text.url], maxPending: 1 } },
      models: { '*': 'gpu' },
    })
    const first = await chat()
    const second = await chat()
    expect([second.status, second.headers.get('retry-after')]).toEqual([429, '2'])
    expect(await second.json()).toMatchObject({ error: { code: 'limit_requests' } })
    await first.text()
    await text.kill()
    const third = await chat()
    expect(third.status).toBe(503)
    expect(JSON.stringify(await third.json())).not.toContain('127.0.0.1')
  })

  it('lets operators inspect and drain with their own key', async () => {
    const [a, b] = [await peer('vllm'), await peer('vllm')]
    const { server, chat } = await start({
      adminKey: 'sk-admin',
      pools: { gpu: { engine: 'vllm', model: 'nano', replicas: [a.url, b.url] } },
      models: { '*': 'gpu' },
    })
    const admin = (route: string, key: string, body?: object) =>
      fetch(`${server.url}/admin/${route}`, {
        headers: { authorization: `Bearer ${key}` },
        ...(body && { method: 'POST', body: JSON.stringify(body) }),
      })
    expect((await fetch(`${server.url}/admin/cluster`)).status).toBe(401)
    expect((await admin('cluster', 'sk-wrong')).status).toBe(401)
    const state = clusterStateSchema.parse(await (await admin('cluster', 'sk-admin')).json())
    expect(state.replicas.map(({ name, state: how }) => [name, how])).toEqual([
      ['gpu-1', 'up'],
      ['gpu-2', 'up'],
    ])
    expect((await admin('cluster/replicas/nobody', 'sk-admin', { draining: true })).status).toBe(404)
    expect((await admin('cluster/replicas/gpu-1', 'sk-admin', {})).status).toBe(400)
    expect((await admin('cluster/replicas/gpu-1', 'sk-admin', { draining: true })).status).toBe(200)
    for (let count = 0; count < 4; count += 1) {
      const response = await chat()
      expect(response.headers.get('x-omniserve-served-by')).toBe('gpu-2')
      await response.text()
    }
    const page = await fetch(`${server.url}/metrics`)
    expect(await page.text()).toContain('omniserve_replica_draining{pool="gpu",replica="gpu-1"} 1')
  })

  it('has no operator routes without a key', async () => {
    const a = await peer('vllm')
    const { server } = await start({
      pools: { gpu: { engine: 'vllm', model: 'nano', replicas: [a.url] } },
      models: { '*': 'gpu' },
    })
    expect((await fetch(`${server.url}/admin/cluster`)).status).toBe(404)
  })

  it('applies a changed file without dropping a reply, and keeps the old one when the new one is not valid', async () => {
    const [a, b] = [await peer('vllm', 15), await peer('vllm')]
    const config = (url: string) => ({
      pools: { gpu: { engine: 'vllm', model: 'nano', replicas: [url] } },
      models: { '*': 'gpu' },
    })
    const { file, chat, log } = await start(config(a.url))
    const running = await chat()
    await writeFile(file, JSON.stringify({ ...config(b.url), pools: { gpu: { engine: 'ollama' } } }))
    await until(() => log().some(({ msg }) => String(msg).startsWith('configuration file has errors')))
    await writeFile(file, JSON.stringify({ ...config(b.url), models: { 'qwen3-omni-flash': 'gpu' } }))
    await until(() => log().some(({ msg }) => msg === 'configuration file reloaded'))
    const next = await chat()
    expect([next.status, b.seen.some(({ path: route }) => route.endsWith('completions'))]).toEqual([200, true])
    await next.text()
    const reply = await readReply(running)
    expect([reply.error, reply.done, reply.text.endsWith('speak.')]).toEqual([undefined, true, true])
    expect((await chat({ model: 'qwen-omni-turbo' })).status).toBe(503)
  })
})
