/**
 * The contract suite and a few requests against a real vLLM or vLLM-Omni with nano, by hand: see
 * reference/remote-peer/README.md. `OMNISERVE_REAL_PEER=vllm-omni=http://127.0.0.1:18102`
 */
import { describe, expect, it, vi } from 'vitest'
import { VOICES } from '../../src/catalogue/index.ts'
import { describeEngine } from '../../src/contract/testing/engine-suite.ts'
import { mapVoices } from '../../src/engines/local/voices.ts'
import type { Adapter, PeerOptions } from '../../src/engines/remote/adapter.ts'
import { RemoteEngine } from '../../src/engines/remote/remote-engine.ts'
import { vllm } from '../../src/engines/remote/vllm/adapter.ts'
import { vllmOmni } from '../../src/engines/remote/vllm-omni/adapter.ts'
import { makeRequest, readReply } from '../../testing/requests.ts'

const given = process.env['OMNISERVE_REAL_PEER'] ?? ''
const [name, url = ''] = given.split(/=(.*)/s)
const real = name === 'vllm-omni' ? vllmOmni : vllm
const speaks = real.output.includes('audio')

// A small model on a busy processor.
if (given !== '') vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 })

/** nano ends its replies early: its end token is ignored to get a long one. */
const adapter: Adapter = {
  ...real,
  async build(request, options, speaker, signal) {
    const body = await real.build(request, options, speaker, signal)
    if (!/long story|Number \d|Slowly/.test(JSON.stringify(request.messages))) return body
    const list = body['sampling_params_list']
    if (!Array.isArray(list)) return { ...body, ignore_eos: true }
    const [thinker, ...rest]: object[] = list
    return { ...body, sampling_params_list: [{ ...thinker, ignore_eos: true }, ...rest] }
  },
}

/** nano ends speech with another token than the published checkpoints. */
const talker = {
  temperature: 0.9,
  top_k: 50,
  repetition_penalty: 1.05,
  max_tokens: 60,
  seed: 42,
  stop_token_ids: [358],
}

async function open(): Promise<RemoteEngine> {
  const peer: PeerOptions = { model: 'nano', voices: mapVoices(VOICES), ...(speaks && { talker }) }
  const engine = new RemoteEngine({ adapter, id: 'nano', url, peer, limits: { idle: 120_000, ask: 60_000 } })
  await engine.discover(new AbortController().signal)
  return engine
}

if (given !== '') {
  describeEngine(`a real ${name}`, {
    create: open,
    model: 'nano',
    ...(speaks && { voice: 'Cherry' }),
    long: { text: 'Please tell me a rather long story.' },
    steady: false,
  })
}

describe.skipIf(given === '')('a real peer with nano', () => {
  it('gives the same answer as the local engine', async () => {
    const engine = await open()
    const reply = await readReply(engine, makeRequest({ model: 'nano', text: 'Who are you?', maxTokens: 60 }))
    expect(reply.text).toBe('I am nano, a very small omni model. I can see, hear and speak.')
    expect([reply.reason, reply.usage.textTokens, reply.usage.prompt?.total]).toEqual(['stop', 18, 12])
    await engine.close()
  })

  it('frees its slot when a request is aborted', async () => {
    const engine = await open()
    const gauge = speaks ? 'vllm_omni:num_requests_running' : 'vllm:num_requests_running'
    const running = async (): Promise<number> => {
      const text = await (await fetch(`${url}/metrics`)).text()
      return Number(new RegExp(`^${gauge}\\{[^}]*\\} (\\S+)`, 'm').exec(text)?.[1])
    }
    const request = makeRequest({ model: 'nano', text: 'Please tell me a rather long story.', maxTokens: 2000 })
    for await (const event of engine.generate(request, new AbortController().signal)) {
      if (event.type !== 'text-delta') continue
      expect(await running()).toBeGreaterThan(0)
      break
    }
    await vi.waitFor(async () => expect(await running()).toBe(0), { timeout: 10_000, interval: 100 })
    await engine.close()
  })
})
