/**
 * Unexpected behaviour of peers: each case is a recording, or one that is cut, delayed or silenced.
 * Reference: the checklist of docs/cluster.md.
 */
import { describe, expect, it } from 'vitest'
import { VOICES } from '../../src/catalogue/index.ts'
import { EngineError } from '../../src/contract/index.ts'
import { mapVoices } from '../../src/engines/local/voices.ts'
import type { Adapter, PeerOptions } from '../../src/engines/remote/adapter.ts'
import { dashscope } from '../../src/engines/remote/dashscope/adapter.ts'
import { omniserve } from '../../src/engines/remote/omniserve/adapter.ts'
import { effectOf } from '../../src/engines/remote/remote-error.ts'
import { RemoteEngine } from '../../src/engines/remote/remote-engine.ts'
import { sglangOmni } from '../../src/engines/remote/sglang-omni/adapter.ts'
import type { TransportLimits } from '../../src/engines/remote/transport.ts'
import { vllm } from '../../src/engines/remote/vllm/adapter.ts'
import { vllmOmni } from '../../src/engines/remote/vllm-omni/adapter.ts'
import { answerTo, recording, type Reply, type ReplayServer, startReplay } from '../../testing/replay-server.ts'
import { makeRequest, readReply } from '../../testing/requests.ts'
import { until } from '../../testing/until.ts'

const chat = '/v1/chat/completions'
const spoken = { model: 'nano', voice: 'Cherry' } as const

interface Peer extends AsyncDisposable {
  readonly engine: RemoteEngine
  readonly server: ReplayServer
}

async function peer(
  adapter: Adapter,
  reply: Reply,
  limits: Partial<TransportLimits> = {},
  options: Partial<PeerOptions> = {},
): Promise<Peer> {
  const server = await startReplay([{ method: 'POST', path: adapter.path, reply }])
  const engine = new RemoteEngine({
    adapter,
    id: 'nano',
    url: server.url,
    peer: { model: 'nano', voices: mapVoices(VOICES), speakers: ['cherry', 'ethan'], ...options },
    limits,
  })
  return {
    engine,
    server,
    [Symbol.asyncDispose]: async () => {
      await engine.close()
      await server.kill()
    },
  }
}

async function failure(engine: RemoteEngine, request = makeRequest({ model: 'nano' })) {
  const events: string[] = []
  try {
    for await (const event of engine.generate(request, new AbortController().signal)) events.push(event.type)
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
    return { error, effect: effectOf(error), events }
  }
  throw new Error('it did not fail')
}

describe('vLLM-Omni', () => {
  it('replays recorded speech: samples, codec frames and tokens equal its own counts', async () => {
    await using tried = await peer(vllmOmni, { events: recording('vllm-omni/speech-pcm16.sse') })
    const reply = await readReply(tried.engine, makeRequest(spoken))
    expect(reply.text).toBe('I am nano, a very small omni model. I can see, hear and speak.')
    expect(reply.pcm.length).toBe(7125 + 13_440)
    // 11 frames of 1,920 samples, without the 555 that its vocoder drops once.
    expect(reply.usage).toEqual({
      textTokens: 18,
      reasoningTokens: 0,
      audioTokens: 11,
      prompt: { total: 12 },
    })
    expect(reply.reason).toBe('stop')
    expect(reply.events.findIndex(({ type }) => type === 'audio-delta')).toBeGreaterThan(0)
  })

  it('reads RIFF chunks where raw samples were requested', async () => {
    await using bare = await peer(vllmOmni, { events: recording('vllm-omni/speech-pcm16.sse') })
    await using riff = await peer(vllmOmni, { events: recording('vllm-omni/speech-wav.sse') })
    const [one, two] = [
      await readReply(bare.engine, makeRequest(spoken)),
      await readReply(riff.engine, makeRequest(spoken)),
    ]
    expect(two.pcm.length).toBe(one.pcm.length)
    expect(two.pcm.some((value) => value !== 0)).toBe(true)
    // A header taken as samples would begin with RIFF.
    expect(two.pcm[0]).not.toBe(0x4952)
  })

  it('ignores audio chunks without samples, and takes audio before the end of the text', async () => {
    const events = recording('vllm-omni/speech-pcm16.sse')
    const audio = events.findIndex((event) => event.includes('"modality":"audio"'))
    const empty = events[audio]!.replace(/"content":"[^"]+"/, '"content":""')
    const early = [...events.slice(0, 5), empty, events[audio]!, ...events.slice(5, audio), ...events.slice(audio + 1)]
    await using tried = await peer(vllmOmni, { events: early })
    const reply = await readReply(tried.engine, makeRequest(spoken))
    expect(reply.pcm.length).toBe(7125 + 13_440)
    expect(reply.usage.textTokens).toBe(18)
  })

  it('infers `length` from the count where the finish reason is missing', async () => {
    await using tried = await peer(vllmOmni, { events: recording('vllm-omni/speech-pcm16.sse') })
    const reply = await readReply(tried.engine, makeRequest({ ...spoken, maxTokens: 19 }))
    expect([reply.reason, reply.usage.textTokens]).toEqual(['length', 19])
  })

  it('handles usage that is zero or missing', async () => {
    const events = recording('vllm-omni/speech-pcm16.sse').map((event) =>
      event.replace(
        /"choices":\[\],"usage":\{.*?\}/,
        '"choices":[],"usage":{"prompt_tokens":0,"total_tokens":0,"completion_tokens":0}',
      ),
    )
    await using tried = await peer(vllmOmni, { events })
    const reply = await readReply(tried.engine, makeRequest(spoken))
    expect(reply.usage).toEqual({ textTokens: 18, reasoningTokens: 0, audioTokens: 11 })
  })

  it('reports prompt tokens by modality when the peer does', async () => {
    await using tried = await peer(vllmOmni, { events: recording('vllm-omni/usage-details.sse') })
    const { usage } = await readReply(tried.engine, makeRequest({ model: 'nano' }))
    const { prompt } = usage
    expect(prompt).toMatchObject({ image: 25, audio: 23, video: 0 })
    expect(prompt!.total).toBe(prompt!.text! + 25 + 23)
  })

  it('ends at a stop string', async () => {
    await using tried = await peer(vllmOmni, { events: recording('vllm-omni/top-level.sse') })
    const reply = await readReply(tried.engine, makeRequest({ model: 'nano', stop: ['very'] }))
    expect([reply.text, reply.reason]).toEqual(['I am nano, a ', 'stop'])
  })

  it.each([
    ['prompt over', 'context_overflow', 'messages', 'none'],
    ['max_tokens 5000', 'context_overflow', 'max_tokens', 'none'],
    ['no or wrong key', 'upstream_failed', undefined, 'suspend'],
    ['unknown model', 'upstream_failed', undefined, 'suspend'],
    ['a data: URL that is no image', 'unsupported', 'messages', 'none'],
    ['an address that refuses', 'upstream_failed', undefined, 'strike'],
    ['after the vocoder stage has died', 'upstream_failed', undefined, 'eject'],
  ] as const)('answers "%s" with %s', async (request, code, param, effect) => {
    await using tried = await peer(vllmOmni, answerTo('vllm-omni', request))
    const failed = await failure(tried.engine)
    expect([failed.error.code, failed.error.param, failed.effect, failed.events]).toEqual([code, param, effect, []])
    // Nothing about the peer's machine reaches callers.
    expect(failed.error.message).not.toMatch(/\/models\/|127\.0\.0\.1|BytesIO/)
  })

  it('ends with engine_crashed when a stage dies in the middle, as recorded', async () => {
    await using tried = await peer(vllmOmni, { events: recording('vllm-omni/engine-dead-midstream.sse') })
    const { error, effect, events } = await failure(tried.engine, makeRequest(spoken))
    expect([error.code, effect, error.retryable]).toEqual(['engine_crashed', 'eject', true])
    expect(events[0]).toBe('start')
    expect(error.message).not.toContain('EngineCore')
  })

  it('learns the voices from the refusal of an impossible one', async () => {
    const server = await startReplay([
      { method: 'GET', path: '/v1/models', reply: { body: { data: [{ id: 'nano', max_model_len: 4096 }] } } },
      { method: 'POST', path: chat, reply: answerTo('vllm-omni', 'voice "Nobody"') },
    ])
    const engine = new RemoteEngine({
      adapter: vllmOmni,
      id: 'r',
      url: server.url,
      peer: { model: 'nano', voices: mapVoices(VOICES) },
    })
    expect(engine.model.voices).toEqual([])
    await engine.discover(new AbortController().signal)
    expect(engine.model.contextLength).toBe(4096)
    expect(engine.model.voices).toHaveLength(49)
    expect(engine.model.voices.every(({ native }) => native)).toBe(true)
    await engine.close()
    await server.kill()
  })

  it('detects that another model is served after a restart', async () => {
    const server = await startReplay([
      { method: 'GET', path: '/v1/models', reply: { body: { data: [{ id: 'other' }] } } },
    ])
    const engine = new RemoteEngine({
      adapter: vllm,
      id: 'r',
      url: server.url,
      peer: { model: 'nano', voices: mapVoices(VOICES) },
    })
    await expect(engine.discover(new AbortController().signal)).rejects.toThrow('serves other, not nano')
    await engine.close()
    await server.kill()
  })

  it('sends all sampling fields, the peer’s name of the voice, and the trace', async () => {
    await using tried = await peer(
      vllmOmni,
      { events: recording('vllm-omni/speech-pcm16.sse') },
      {},
      { key: 'sk-pool' },
    )
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await readReply(tried.engine, makeRequest({ ...spoken, stop: ['x'], maxTokens: 40, traceparent }))
    const { body, headers } = tried.server.seen[0]!
    expect(headers).toMatchObject({ authorization: 'Bearer sk-pool', traceparent })
    expect(body).toMatchObject({
      model: 'nano',
      modalities: ['text', 'audio'],
      voice: 'cherry',
      audio: { format: 'pcm16' },
      stream_options: { include_usage: true },
    })
    expect(body['sampling_params_list']).toEqual([
      {
        temperature: 0,
        top_p: 1,
        top_k: -1,
        presence_penalty: 0,
        repetition_penalty: 1,
        seed: 1234,
        max_tokens: 40,
        stop: ['x'],
      },
    ])
  })
})

describe('vLLM', () => {
  it('refuses speech, which it would silently omit', async () => {
    await using tried = await peer(vllm, { events: recording('vllm/text.sse') })
    const { error, events } = await failure(tried.engine, makeRequest(spoken))
    expect([error.code, error.param, events]).toEqual(['unsupported', 'modalities', []])
    expect(tried.server.seen).toEqual([])
  })

  it.each([
    ['{"model":"nano","messages":[{"role":"user","content":"x"}],"max_tokens":5000', 'context_overflow', 'max_tokens'],
    ['{"model":"nano","messages":[{"role":"user","content":"x"}],"temperature":9', 'unsupported', 'temperature'],
    // It counts no further than max_tokens leaves, so a smaller one may or may not fit.
    ['prompt over', 'context_overflow', 'max_tokens'],
  ])('answers %s', async (request, code, param) => {
    await using tried = await peer(vllm, answerTo('vllm', request))
    const { error } = await failure(tried.engine)
    expect([error.code, error.param]).toEqual([code, param])
  })
})

describe('SGLang-Omni', () => {
  it.each([
    ['error-busy-stream.sse', 'overloaded', undefined, 'none', 0],
    ['error-long-stream.sse', 'context_overflow', 'messages', 'none', 0],
    ['error-midstream.sse', 'engine_crashed', undefined, 'eject', 6],
  ] as const)('reads %s, an error inside a 200', async (name, code, param, effect, events) => {
    await using tried = await peer(sglangOmni, { events: recording(`sglang-omni/${name}`) })
    const failed = await failure(tried.engine)
    expect([failed.error.code, failed.error.param, failed.effect]).toEqual([code, param, effect])
    expect(failed.events).toHaveLength(events)
  })

  it('reads raw and RIFF audio, and the usage of the last chunk', async () => {
    for (const name of ['speech-pcm.sse', 'speech-wav.sse']) {
      await using tried = await peer(sglangOmni, { events: recording(`sglang-omni/${name}`) })
      const reply = await readReply(tried.engine, makeRequest({ model: 'nano', voice: 'Ethan' }))
      expect(reply.text).toBe('I am nano, a very small omni model. I can see, hear and speak.')
      expect([reply.usage.textTokens, reply.usage.prompt?.total]).toEqual([18, 12])
      expect(reply.usage.audioTokens).toBe(Math.ceil(reply.pcm.length / 1920))
    }
  })

  it('speaks with its only speaker, and says that no voice can be selected', async () => {
    await using tried = await peer(
      sglangOmni,
      { events: recording('sglang-omni/speech-pcm.sse') },
      {},
      { speakers: ['ethan'] },
    )
    const { capabilities, voices } = tried.engine.model
    expect(capabilities.voiceChoice).toBe(false)
    expect(voices.filter(({ native }) => native).map(({ name }) => name)).toEqual(['Ethan'])
    expect((await readReply(tried.engine, makeRequest(spoken))).pcm.length).toBeGreaterThan(0)
    const { error } = await failure(tried.engine, makeRequest({ model: 'nano', voice: 'Nobody' }))
    expect([error.code, error.param]).toEqual(['unsupported', 'audio.voice'])
  })
})

describe('DashScope', () => {
  const body = (code: string, message = 'words of the service') => ({
    error: { message, type: code, param: null, code },
    request_id: 'x',
  })

  it.each([
    [429, body('limit_requests'), 'rate_limited', 'none'],
    [429, body('limit_burst_rate'), 'rate_limited', 'none'],
    [429, body('insufficient_quota'), 'rate_limited', 'suspend'],
    [401, body('invalid_api_key'), 'upstream_failed', 'suspend'],
    [400, body('Arrearage'), 'upstream_failed', 'suspend'],
    [403, body('AllocationQuota.FreeTierOnly'), 'upstream_failed', 'suspend'],
    [503, body('ModelServingError'), 'overloaded', 'none'],
    [500, body('internal_error'), 'upstream_failed', 'strike'],
  ])('answers %i %j with %s, %s', async (status, answer, code, effect) => {
    await using plain = await peer(dashscope, { status, body: answer })
    const one = await failure(plain.engine)
    expect([one.error.code, one.effect]).toEqual([code, effect])
    // The same as an event in a 200, and framed as an event in the body of a refusal.
    await using event = await peer(dashscope, { events: [`data: ${JSON.stringify(answer)}`] })
    const two = await failure(event.engine)
    expect([two.error.code, two.effect]).toEqual([code, effect])
    await using framed = await peer(dashscope, { status, body: `data: ${JSON.stringify(answer)}\n\n` })
    const three = await failure(framed.engine)
    expect([three.error.code, three.effect]).toEqual([code, effect])
  })

  it('forwards the service’s message for the caller’s errors', async () => {
    await using tried = await peer(dashscope, {
      status: 400,
      body: body('data_inspection_failed', 'Input text data may contain inappropriate content.'),
    })
    const { error, effect } = await failure(tried.engine)
    expect(error.passedOn).toEqual({ status: 400, type: 'data_inspection_failed', code: 'data_inspection_failed' })
    expect([error.message, effect, error.retryable]).toEqual([
      'Input text data may contain inappropriate content.',
      'none',
      false,
    ])
  })

  it('reads the text of turbo models from the transcript', async () => {
    const chunk = (delta: object, finish: string | null = null) =>
      `data: ${JSON.stringify({ choices: [{ delta, finish_reason: finish, index: 0, logprobs: null }] })}`
    const events = [
      chunk({ audio: { transcript: 'Hello' } }),
      chunk({
        audio: { data: Buffer.from(new Int16Array([1, 2, 3]).buffer).toString('base64'), id: 'audio_1', expires_at: 1 },
      }),
      chunk({ content: '' }, 'stop'),
      'data: {"choices":[],"usage":{"prompt_tokens":207,"completion_tokens":4,"total_tokens":211,"prompt_tokens_details":{"text_tokens":207},"completion_tokens_details":{"audio_tokens":1,"text_tokens":3}}}',
      'data: [DONE]',
    ]
    await using tried = await peer(dashscope, { events })
    const reply = await readReply(tried.engine, makeRequest(spoken))
    expect([reply.text, [...reply.pcm]]).toEqual(['Hello', [1, 2, 3]])
    expect(reply.usage).toEqual({
      textTokens: 3,
      reasoningTokens: 0,
      audioTokens: 1,
      prompt: { total: 207, text: 207, image: 0, audio: 0, video: 0 },
    })
  })

  it('removes the speech prompt, which the service adds itself', async () => {
    await using tried = await peer(dashscope, { status: 500, body: {} })
    const system = (...texts: string[]) => ({
      role: 'system' as const,
      content: texts.map((text) => ({ type: 'text' as const, text })),
    })
    const user = { role: 'user' as const, content: [{ type: 'text' as const, text: 'hi' }] }
    await failure(tried.engine, makeRequest({ ...spoken, speechPrompt: 'Speak.', messages: [system('Speak.'), user] }))
    await failure(
      tried.engine,
      makeRequest({ ...spoken, speechPrompt: 'Speak.', messages: [system('Speak.', '\n', 'Be kind.'), user] }),
    )
    expect(tried.server.seen.map(({ body: sent }) => sent['messages'])).toEqual([
      [{ role: 'user', content: 'hi' }],
      [
        { role: 'system', content: 'Be kind.' },
        { role: 'user', content: 'hi' },
      ],
    ])
  })
})

describe('another omniserve', () => {
  it('counts as failed, not as the caller’s error, while its engine is down', async () => {
    const body = {
      error: { message: 'Model is unavailable', type: 'ModelUnavailable', param: null, code: 'ModelUnavailable' },
      request_id: 'x',
    }
    await using tried = await peer(omniserve, { status: 503, body, headers: { 'retry-after': '7' } })
    const { error, effect } = await failure(tried.engine)
    expect([error.code, effect, error.retryAfterMs]).toEqual(['engine_crashed', 'strike', 7000])
  })
})

describe('any peer', () => {
  const text = recording('vllm/text.sse')

  it.each([
    ['closed in order', 'close', 'engine_crashed'],
    ['reset', 'reset', 'engine_crashed'],
    ['silent for ever', 'silence', 'engine_crashed'],
  ] as const)('whose reply is %s in the middle has crashed', async (_, how, code) => {
    const idle = how === 'silence' ? 600 : 60_000
    await using tried = await peer(vllm, { events: text, pace: 5, stop: { after: 6, how } }, { idle })
    const { error, effect, events } = await failure(tried.engine)
    expect([error.code, effect]).toEqual([code, 'eject'])
    expect(events.slice(0, 2)).toEqual(['start', 'text-delta'])
  })

  it('whose reply is reset before the first token counts as not begun', async () => {
    await using tried = await peer(vllm, { events: text, stop: { after: 0, how: 'reset' } }, { idle: 60_000 })
    const { error, events } = await failure(tried.engine)
    expect([error.retryable, events]).toEqual([true, []])
  })

  it('is dead when silent after the role, and queueing when silent before it', async () => {
    await using dead = await peer(
      vllm,
      { events: text, stop: { after: 1, how: 'silence' } },
      { idle: 100, firstByte: 60_000 },
    )
    expect((await failure(dead.engine)).error.code).toBe('engine_crashed')
    await using queued = await peer(vllm, { events: text, delay: 1500 }, { idle: 1200, firstByte: 60_000 })
    expect((await readReply(queued.engine, makeRequest({ model: 'nano' }))).text).toContain('nano')
  })

  it('that closed an idle connection is retried over a new one', async () => {
    await using tried = await peer(vllm, { events: text })
    const used = new Set<object>()
    // Every request after the first on a connection finds it closed.
    tried.server.onRequest((request, socket) => {
      if (request.url === chat && used.has(socket)) socket.destroy()
      used.add(socket)
    })
    for (let count = 0; count < 3; count += 1)
      expect((await readReply(tried.engine, makeRequest({ model: 'nano' }))).text).toContain('nano')
    expect(used.size).toBe(3)
  })

  it('that does not begin in time is abandoned', async () => {
    await using tried = await peer(vllm, { events: text, delay: 60_000 }, { firstByte: 100 })
    const { error, effect } = await failure(tried.engine)
    expect([error.code, effect]).toEqual(['timeout', 'strike'])
  })

  it('that cannot be reached is ejected at once', async () => {
    await using tried = await peer(vllm, { events: text })
    await tried.server.kill()
    const { error, effect } = await failure(tried.engine)
    expect([error.code, effect]).toEqual(['upstream_failed', 'eject'])
  })

  it('that ends with [DONE] and no finish reason has ended', async () => {
    const events = text.map((event) => event.replace('"finish_reason":"stop"', '"finish_reason":null'))
    await using tried = await peer(vllm, { events })
    expect((await readReply(tried.engine, makeRequest({ model: 'nano' }))).reason).toBe('stop')
  })

  it('that sends a finish reason and closes without [DONE] has ended', async () => {
    await using tried = await peer(vllm, { events: text.filter((event) => !event.includes('[DONE]')) })
    const reply = await readReply(tried.engine, makeRequest({ model: 'nano' }))
    expect([reply.reason, reply.usage.textTokens]).toEqual(['stop', 18])
  })

  it.each([['data: {"choices": 7}'], ['data: not json'], ['data: [1]']])('that sends %s has failed', async (event) => {
    await using tried = await peer(vllm, { events: [event] })
    expect((await failure(tried.engine)).error.code).toBe('upstream_failed')
  })

  it('is not quoted where its message names folders or comes from a proxy', async () => {
    const named = {
      error: { message: "The model at '/srv/models/nano' has no chat template.", type: 'BadRequestError', code: 400 },
    }
    await using tried = await peer(vllm, { status: 400, body: named })
    expect((await failure(tried.engine)).error.message).toBe("The model at '(path)' has no chat template.")
    await using proxy = await peer(vllm, { status: 413, body: '<html>413 nginx/1.27</html>' })
    const { error, effect } = await failure(proxy.engine)
    expect([error.code, error.message, effect]).toEqual([
      'upstream_failed',
      'The peer refused the request with HTTP 413.',
      'none',
    ])
    await using moved = await peer(vllm, { status: 308, body: '', headers: { location: 'http://127.0.0.1:9/' } })
    expect((await failure(moved.engine)).error.message).toContain('HTTP 308')
  })

  it('that answers with an HTML page has failed', async () => {
    await using tried = await peer(vllm, { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } })
    expect((await failure(tried.engine)).error.code).toBe('upstream_failed')
  })

  it('is informed of an abort by the closed connection', async () => {
    await using tried = await peer(vllm, { events: text, pace: 20 })
    const controller = new AbortController()
    for await (const event of tried.engine.generate(makeRequest({ model: 'nano' }), controller.signal))
      if (event.type === 'text-delta') break
    await until(() => tried.server.open === 0)
    expect(tried.server.seen[0]?.aborted).toBe(true)
  })

  it('is not read faster than the client reads', async () => {
    const audio = recording('vllm-omni/speech-pcm16.sse')
    const one = audio.find((event) => event.includes('"modality":"audio"'))!
    const events = [...audio.slice(0, 4), ...Array.from({ length: 1500 }, () => one), ...audio.slice(4)]
    await using tried = await peer(vllmOmni, { events }, { idle: 1000 })
    const iterator = tried.engine.generate(makeRequest(spoken), new AbortController().signal)[Symbol.asyncIterator]()
    for (let count = 0; count < 6; count += 1) await iterator.next()
    // Longer than the idle limit: a reader that pauses is not a peer that is silent.
    await new Promise((resolve) => setTimeout(resolve, 1800))
    expect(tried.server.open).toBe(1)
    let samples = 0
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
      if (next.value.type === 'audio-delta') samples += next.value.pcm.length
    expect(samples).toBeGreaterThan(1490 * 7125)
  })
})
