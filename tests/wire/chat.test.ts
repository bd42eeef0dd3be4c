/** Input and output: every form of input, the chunks, the usage, the settings. */
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { chatCompletionSchema, type TokensCount, tokensCountSchema } from '../../src/protocol/index.ts'
import { dataUri, type FileServer, jpeg, png, serveFiles, wav } from '../support/media.ts'
import { loudness, readReply, usageAddsUp } from '../support/reply.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'

const file = (name: string) => readFile(new URL(`../../testdata/media/${name}`, import.meta.url))
const user = (...content: unknown[]) => ({ role: 'user', content })
const text = (content: string) => ({ type: 'text', text: content })
const base = { model: 'qwen3-omni-flash', stream: true, stream_options: { include_usage: true } }
const hello = { ...base, messages: [{ role: 'user', content: '你是誰?' }] }
const spoken = { modalities: ['text', 'audio'], audio: { voice: 'Cherry', format: 'wav' } }

describe('chat completions', () => {
  let server: TestServer
  let files: FileServer
  beforeAll(async () => {
    files = await serveFiles({
      '/image.png': { body: await png(320, 320), type: 'image/png' },
      '/frame.jpg': { body: await jpeg(640, 360), type: 'image/jpeg' },
      '/audio.wav': { body: wav(4), type: 'audio/wav' },
      '/video.mp4': { body: await file('clip.mp4'), type: 'video/mp4' },
    })
    server = await startTestServer({ mediaAllowHost: [files.host] })
  })
  afterAll(async () => {
    await server[Symbol.asyncDispose]()
    await files[Symbol.asyncDispose]()
  })

  it('streams text: role, deltas, finish reason, usage, end mark', async () => {
    const response = await server.chat(hello)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/event-stream;charset=UTF-8')
    const reply = await readReply(response)
    expect(reply.chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: '' })
    expect(reply.chunks.filter((chunk) => chunk.choices[0]?.delta.role !== undefined)).toHaveLength(1)
    expect(reply.text).toBe('You said: 你是誰?')
    expect(reply.finish).toBe('stop')
    expect(reply.done).toBe(true)
    expect(new Set(reply.chunks.map((chunk) => `${chunk.id} ${chunk.created} ${chunk.model}`)).size).toBe(1)
    expect(reply.chunks[0]?.id).toBe(`chatcmpl-${response.headers.get('x-request-id')}`)
    expect(reply.chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true)
    expect(reply.usage?.prompt_tokens).toBe(11)
    expect(reply.usage && usageAddsUp(reply.usage)).toBe(true)
  })

  it('sends usage only on request', async () => {
    for (const stream_options of [undefined, null, {}, { include_usage: false }]) {
      const reply = await readReply(await server.chat({ ...hello, stream_options }))
      expect(reply.chunks.every((chunk) => chunk.usage === null && chunk.choices.length === 1)).toBe(true)
    }
  })

  it('speaks: the pieces join to the engine’s audio, and usage counts it', async () => {
    const reply = await readReply(await server.chat({ ...hello, ...spoken }))
    expect(reply.text).toBe('You said: 你是誰?')
    // The fake makes three frames of 80 ms for each of its six tokens.
    expect(reply.samples.length).toBe(6 * 3 * 1920)
    expect(loudness(reply.samples)).toBeGreaterThan(0.1)
    for (const piece of reply.pieces.slice(0, -1)) expect(Buffer.from(piece, 'base64').length % 6).toBe(0)
    expect(reply.usage).toEqual({
      prompt_tokens: 207,
      completion_tokens: 24,
      total_tokens: 231,
      completion_tokens_details: { audio_tokens: 18, text_tokens: 6 },
      prompt_tokens_details: { text_tokens: 207 },
    })
    const audio = reply.chunks.find((chunk) => chunk.choices[0]?.delta.audio)
    expect(audio?.choices[0]?.delta.audio).toMatchObject({
      expires_at: audio?.created,
      id: audio?.id.replace('chatcmpl-', 'audio_'),
    })
  })

  it('thinks, at the top level or in a literal extra_body', async () => {
    for (const how of [{ enable_thinking: true }, { extra_body: { enable_thinking: true } }]) {
      const reply = await readReply(await server.chat({ ...hello, ...how, modalities: ['text'] }))
      expect(reply.reasoning).toBe('Let me think about that.')
      expect(reply.chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: null, reasoning_content: '' })
      expect(reply.usage?.completion_tokens_details).toEqual({ reasoning_tokens: 5, text_tokens: 6 })
    }
    const short = await readReply(await server.chat({ ...hello, enable_thinking: true, thinking_budget: 2 }))
    expect(short.usage?.completion_tokens_details?.reasoning_tokens).toBe(2)
  })

  it.each([
    [
      'image by URL',
      (url: string) => ({ type: 'image_url', image_url: { url: `${url}/image.png` } }),
      'an image of 320 by 320',
      { image_tokens: 102 },
    ],
    [
      'image by bare string',
      (url: string) => ({ type: 'image_url', image_url: `${url}/image.png` }),
      'an image of 320 by 320',
      { image_tokens: 102 },
    ],
    [
      'audio by URL',
      (url: string) => ({ type: 'input_audio', input_audio: { data: `${url}/audio.wav`, format: 'wav' } }),
      '4.0 seconds of sound',
      { audio_tokens: 50 },
    ],
    [
      'audio without format',
      (url: string) => ({ type: 'input_audio', input_audio: { data: `${url}/audio.wav` } }),
      '4.0 seconds of sound',
      { audio_tokens: 50 },
    ],
    [
      'audio as data',
      () => ({ type: 'input_audio', input_audio: { data: dataUri(wav(4)), format: 'mp3' } }),
      '4.0 seconds of sound',
      { audio_tokens: 50 },
    ],
    [
      'video as frames',
      (url: string) => ({ type: 'video', video: Array(4).fill(`${url}/frame.jpg`) }),
      '4 frames',
      { video_tokens: 442 },
    ],
    // 64 x 48 is brought up to 128 tokens a frame: 13 x 10 of 32 pixels; four frames make two.
    [
      'video as a file with audio',
      (url: string) => ({ type: 'video_url', video_url: { url: `${url}/video.mp4` } }),
      '4 frames with sound',
      { audio_tokens: 25, video_tokens: 2 * 140 + 2 },
    ],
  ])('takes %s', async (_, part, seen, counted) => {
    const body = { ...base, messages: [user(part(files.url), text('what?'))] }
    const reply = await readReply(await server.chat(body))
    expect(reply.error).toBeUndefined()
    expect(reply.text).toContain(seen)
    expect(reply.usage?.prompt_tokens_details).toEqual({ text_tokens: 10, ...counted })
    expect(reply.usage && usageAddsUp(reply.usage)).toBe(true)
  })

  it('takes several images, and other modalities in other turns', async () => {
    const image = { type: 'image_url', image_url: { url: dataUri(await png(64, 64), 'image/png') } }
    const audio = { type: 'input_audio', input_audio: { data: dataUri(wav(2)) } }
    const reply = await readReply(
      await server.chat({
        ...base,
        messages: [
          user(audio, text('listen')),
          { role: 'assistant', content: [text('ok')] },
          user(image, text('a'), image, text('b')),
        ],
      }),
    )
    expect(reply.text).toContain('an image of 64 by 64 and an image of 64 by 64')
    expect(reply.usage?.prompt_tokens_details).toMatchObject({ audio_tokens: 25, image_tokens: 12 })
    const [, , last] = server.engine.requests.at(-1)?.messages ?? []
    expect(last?.content.map((part) => part.type)).toEqual(['image', 'text', 'image', 'text'])
  })

  it('gives the engine the model’s defaults, or the request’s values', async () => {
    await (await server.chat(hello)).text()
    expect(server.engine.requests.at(-1)).toMatchObject({
      sampling: { temperature: 0.9, topP: 1, topK: 50, presencePenalty: 0, repetitionPenalty: 1.05, seed: 1234 },
      maxTokens: 16_384,
      stop: [],
    })
    await (await server.chat({ ...hello, model: 'qwen-omni-turbo' })).text()
    expect(server.engine.requests.at(-1)).toMatchObject({
      sampling: { temperature: 1, topP: 0.01, topK: 20 },
      maxTokens: 2048,
    })
    const set = {
      temperature: 0,
      top_p: 0.5,
      top_k: null,
      seed: 7,
      presence_penalty: -1,
      repetition_penalty: 2,
      max_tokens: 3,
    }
    await (await server.chat({ ...hello, ...set, stop: ['x', ''] })).text()
    expect(server.engine.requests.at(-1)).toMatchObject({
      sampling: { temperature: 0, topP: 0.5, seed: 7, presencePenalty: -1, repetitionPenalty: 2 },
      maxTokens: 3,
      stop: ['x'],
    })
    expect(server.engine.requests.at(-1)?.sampling).not.toHaveProperty('topK')
    await (await server.chat({ ...hello, top_k: 101, stop: [5, 6] })).text()
    expect(server.engine.requests.at(-1)).toMatchObject({ stopTokenIds: [5, 6], stop: [] })
    expect(server.engine.requests.at(-1)?.sampling).not.toHaveProperty('topK')
  })

  it('ends with `length` at max_tokens', async () => {
    const reply = await readReply(await server.chat({ ...hello, max_tokens: 2 }))
    expect([reply.finish, reply.usage?.completion_tokens]).toEqual(['length', 2])
  })

  it('drops the system message of spoken turbo, and otherwise puts the speech prompt before it', async () => {
    const messages = [{ role: 'system', content: 'Be brief.' }, ...hello.messages]
    await (await server.chat({ ...hello, ...spoken, messages, model: 'qwen-omni-turbo' })).text()
    let system = server.engine.requests.at(-1)?.messages[0]
    expect(JSON.stringify(system)).not.toContain('Be brief.')
    await (await server.chat({ ...hello, messages, model: 'qwen-omni-turbo' })).text()
    expect(server.engine.requests.at(-1)?.messages[0]).toEqual({ role: 'system', content: [text('Be brief.')] })
    await (await server.chat({ ...hello, ...spoken, messages })).text()
    system = server.engine.requests.at(-1)?.messages[0]
    expect(system?.content.map((part) => part.type === 'text' && part.text).join('')).toMatch(
      /^You are Qwen-Omni[^]*\nBe brief\.$/,
    )
  })

  it('counts tokens without a reply: as many as the reply’s usage, with their price', async () => {
    const body = {
      ...hello,
      ...spoken,
      messages: [user({ type: 'image_url', image_url: { url: `${files.url}/image.png` } }, text('x'))],
    }
    const before = server.engine.requests.length
    const response = await fetch(`${server.baseUrl}/tokens/count`, {
      method: 'POST',
      body: JSON.stringify({ ...body, stream: false }),
    })
    const count: TokensCount = tokensCountSchema.parse(await response.json())
    expect(server.engine.requests.length).toBe(before)
    const reply = await readReply(await server.chat(body))
    expect(count.usage.prompt_tokens_details).toEqual(reply.usage?.prompt_tokens_details)
    const tokens = count.usage.prompt_tokens_details
    expect(count.cost?.total).toBeCloseTo(((tokens?.text_tokens ?? 0) * 0.43 + 102 * 0.78) / 1e6, 10)
  })

  it('names the exceeded limit when the checkpoint’s is smaller', async () => {
    await using small = await startTestServer({}, fakeEngine({ contextLength: 40, maxOutputTokens: 64 }))
    const unasked = await small.chat(hello)
    expect(unasked.headers.get('x-omniserve-warnings')).toBeNull()
    expect((await readReply(unasked)).text).toBe('You said: 你是誰?')
    const clamped = await small.chat({ ...hello, max_tokens: 60 })
    expect(clamped.headers.get('x-omniserve-warnings')).toContain("the checkpoint 'fake-omni' can generate at most")
    const beyond = await small.chat({ ...hello, max_tokens: 65 })
    expect(beyond.headers.get('x-omniserve-warnings')).toContain("'fake-omni' gives at most 64 answer tokens")
    expect((await readReply(beyond)).text).toBe('You said: 你是誰?')
    expect((await readReply(clamped)).text).toBe('You said: 你是誰?')
    // Preparing media for a checkpoint takes seconds: counting finds first what cannot fit.
    const generate = vi.spyOn(small.engine, 'generate')
    const over = await small.chat({ ...hello, messages: [{ role: 'user', content: 'word '.repeat(50) }] })
    expect(over.status).toBe(400)
    const { error } = (await over.json()) as { error: { message: string } }
    expect(error.message).toContain(
      "Range of input length should be [1, 40]: the checkpoint 'fake-omni' loaded here holds less than the API model.",
    )
    expect(generate).not.toHaveBeenCalled()
    // A tiny checkpoint does not get the speech prompt, though it is counted.
    const reply = await readReply(await small.chat({ ...hello, ...spoken }))
    expect(reply.usage?.prompt_tokens).toBe(207)
    expect(small.engine.requests.at(-1)?.messages).toHaveLength(1)
  })

  it('gives whole replies when lenient, as the hosted service does', async () => {
    await using lenient = await startTestServer({ lenientNonStream: true })
    const response = await lenient.chat({ ...hello, stream: false })
    const reply = chatCompletionSchema.parse(await response.json())
    expect(reply.choices[0]).toEqual({
      message: { content: 'You said: 你是誰?', reasoning_content: '', role: 'assistant' },
      finish_reason: 'stop',
      index: 0,
      logprobs: null,
    })
    expect(usageAddsUp(reply.usage)).toBe(true)
  })

  it('puts turbo’s spoken text where the setting says', async () => {
    await using old = await startTestServer({ textCarrier: { 'qwen-omni-turbo': 'transcript' } })
    const reply = await readReply(await old.chat({ ...hello, ...spoken, model: 'qwen-omni-turbo' }))
    const transcript = reply.chunks.map((chunk) => chunk.choices[0]?.delta.audio?.transcript ?? '').join('')
    expect([reply.text, transcript]).toEqual(['', 'You said: 你是誰?'])
    const flash = await readReply(await old.chat({ ...hello, ...spoken }))
    expect(flash.text).toBe('You said: 你是誰?')
    // Turbo speech is 25 tokens a second.
    expect(reply.usage?.completion_tokens_details?.audio_tokens).toBe(36)
  })

  it('resolves aliases of models in settings', async () => {
    await using old = await startTestServer({ textCarrier: { 'qwen-omni-turbo-0326': 'both' } })
    const reply = await readReply(await old.chat({ ...hello, ...spoken, model: 'qwen-omni-turbo-2025-03-26' }))
    const transcript = reply.chunks.map((chunk) => chunk.choices[0]?.delta.audio?.transcript ?? '').join('')
    expect([reply.text, transcript]).toEqual(['You said: 你是誰?', 'You said: 你是誰?'])
  })

  it('binds one model, or its thinking, to another checkpoint', async () => {
    const other = fakeEngine({ models: ['other'], reply: () => ({ text: 'other', reasoning: 'hm' }) })
    const main = fakeEngine()
    await using bound = await startTestServer(
      { bind: { 'qwen-omni-turbo': 'other', 'qwen3-omni-flash:thinking': 'other' } },
      main,
      {
        engines: new Map([
          ['fake-omni', main],
          ['other', other],
        ]),
      },
    )
    expect((await readReply(await bound.chat(hello))).text).toContain('You said')
    expect((await readReply(await bound.chat({ ...hello, model: 'qwen-omni-turbo' }))).text).toBe('other')
    expect((await readReply(await bound.chat({ ...hello, enable_thinking: true }))).reasoning).toBe('hm')
    const voices = await (await fetch(`${bound.baseUrl}/voices?model=qwen2.5-omni-7b`)).json()
    expect(voices).toMatchObject({
      data: [
        {
          model: 'qwen2.5-omni-7b',
          voices: [
            { name: 'Ethan', native: true },
            { name: 'Chelsie', spoken_by: 'chelsie' },
          ],
        },
      ],
    })
  })
})
