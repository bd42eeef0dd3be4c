/**
 * SGLang-Omni's own HTTP layer and client, on the scripted coordinator of reference/remote-peer/sglang_stub.py, by
 * hand. The content is a recording; the wire format and the refusals are its own.
 * `OMNISERVE_REAL_SGLANG=http://127.0.0.1:18103`
 */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type ClusterServer, startClusterServer } from '../support/cluster-server.ts'
import { dataUri, png, wav } from '../support/media.ts'
import { readReply, usageAddsUp } from '../support/reply.ts'

const url = process.env['OMNISERVE_REAL_SGLANG'] ?? ''
const TEXT = 'I am nano, a very small omni model. I can see, hear and speak.'
// Its voice cannot be selected.
const speech = { modalities: ['text', 'audio'] }

let front: ClusterServer
beforeAll(async () => {
  if (url === '') return
  front = await startClusterServer({
    pools: { sglang: { engine: 'sglang-omni', model: 'nano', contextLength: 8192, replicas: [{ name: 's', url }] } },
    models: { '*': 'sglang' },
    balancing: { probeEvery: 1, ejectFor: 2 },
  })
})
afterAll(async () => {
  if (url !== '') await front[Symbol.asyncDispose]()
})

const say = (text: string, more: object = {}): Promise<Response> =>
  front.chat({ messages: [{ role: 'user', content: text }], ...more })

async function pending(): Promise<number> {
  const health = (await (await fetch(`${url}/health`)).json()) as { readonly pending_completions: number }
  return health.pending_completions
}

describe.skipIf(url === '')('a real HTTP layer of SGLang-Omni behind this server', { retry: 0 }, () => {
  it('gives text and speech, with its usage and our count of its samples', async () => {
    for (const body of [{}, speech]) {
      const response = await say('Who are you?', body)
      expect(response.headers.get('x-omniserve-served-by')).toBe('s')
      const reply = await readReply(response)
      expect([reply.error, reply.done, reply.text, reply.finish]).toEqual([undefined, true, TEXT, 'stop'])
      expect(usageAddsUp(reply.usage!)).toBe(true)
      expect(reply.usage!.completion_tokens_details).toEqual(
        body === speech
          ? { text_tokens: 18, audio_tokens: Math.ceil(reply.samples.length / 1920) }
          : { text_tokens: 18 },
      )
      expect(reply.samples.length > 20_000).toBe(body === speech)
    }
  })

  it('takes images, audio and every sampling field that we send', async () => {
    const content = [
      { type: 'image_url', image_url: { url: dataUri(await png(64, 64), 'image/png') } },
      { type: 'text', text: 'What is it?' },
    ]
    const sound = [
      { type: 'input_audio', input_audio: { data: dataUri(wav(1)), format: 'wav' } },
      { type: 'text', text: 'What is it?' },
    ]
    const sampling = {
      temperature: 0.7,
      top_p: 0.9,
      top_k: 20,
      seed: 7,
      repetition_penalty: 1.1,
      stop: ['x'],
      max_tokens: 50,
      presence_penalty: 0,
    }
    for (const parts of [content, sound]) {
      const reply = await readReply(await front.chat({ messages: [{ role: 'user', content: parts }], ...sampling }))
      expect([reply.error, reply.text]).toEqual([undefined, TEXT])
    }
  })

  it('maps a full queue, a full context and a crash to our errors', async () => {
    const busy = await say('BUSY')
    expect([busy.status, busy.headers.get('retry-after') !== null]).toEqual([503, true])
    await busy.text()
    // It is paused for a second after a full queue.
    await vi.waitFor(async () => expect((await say('Hi')).status).toBe(200), { timeout: 10_000, interval: 200 })
    const long = await say('LONG')
    expect(long.status).toBe(400)
    expect(await long.json()).toMatchObject({ error: { code: 'invalid_parameter_error' } })
    const dead = await readReply(await say('DIE'))
    expect(dead.error!.error.code).toBe('ModelUnavailable')
    expect(dead.done).toBe(true)
    // Its health check passes, so it is readmitted.
    await vi.waitFor(async () => expect((await say('Hi')).status).toBe(200), { timeout: 30_000, interval: 200 })
  })

  it('is informed of an abort', async () => {
    const controller = new AbortController()
    const response = await fetch(`${front.server.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'qwen3-omni-flash',
        stream: true,
        messages: [{ role: 'user', content: 'Hi' }],
        ...speech,
      }),
      signal: controller.signal,
    })
    expect(response.status).toBe(200)
    expect(await pending()).toBe(1)
    controller.abort()
    await vi.waitFor(async () => expect(await pending()).toBe(0), { timeout: 5000, interval: 5 })
  })
})
