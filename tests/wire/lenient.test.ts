/**
 * What `/v1` accepts beyond `/compatible-mode/v1` (docs/wire.md), each on both routes; tools; the same bytes for
 * `pcm16`.
 */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, streamText, tool } from 'ai'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { decodeWav } from '../../src/media/index.ts'
import { dataUri, png, wav } from '../support/media.ts'
import { readReply } from '../support/reply.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'

let server: TestServer
let toolServer: TestServer

beforeAll(async () => {
  server = await startTestServer()
  toolServer = await startTestServer({}, fakeEngine({ tools: true }))
})
afterAll(async () => {
  await server.stop(0)
  await toolServer.stop(0)
})

const post = (path: string, body: unknown, to = server): Promise<Response> =>
  fetch(`${to.url}${path}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
const strict = (body: unknown): Promise<Response> => post('/compatible-mode/v1', body)
const lenient = (body: unknown): Promise<Response> => post('/v1', body)

const model = 'qwen3-omni-flash'
const user = (content: unknown): object => ({ role: 'user', content })
const streamed = { model, stream: true, messages: [user('hello')] }
const audio = { modalities: ['text', 'audio'], audio: { voice: 'Cherry', format: 'wav' } }
const base64 = wav(1).toString('base64')

const leniencies: readonly (readonly [string, object])[] = [
  ['a reply that is not streamed', { model, messages: [user('hello')] }],
  ['a spoken reply that is not streamed', { model, messages: [user('hello')], ...audio }],
  ['the developer role', { ...streamed, messages: [{ role: 'developer', content: 'Be kind.' }, user('hello')] }],
  [
    'raw Base64',
    { ...streamed, messages: [user([{ type: 'input_audio', input_audio: { data: base64, format: 'wav' } }])] },
  ],
  ['audio_url', { ...streamed, messages: [user([{ type: 'audio_url', audio_url: { url: dataUri(wav(1)) } }])] }],
  ['audio alone as modality', { ...streamed, ...audio, modalities: ['audio'] }],
  ['an audio object without format', { ...streamed, ...audio, audio: { voice: 'Cherry' } }],
  ['an audio object without voice', { ...streamed, ...audio, audio: { format: 'wav' } }],
  ['a voice in other letters', { ...streamed, ...audio, audio: { voice: 'cherry', format: 'wav' } }],
  ['a checkpoint by its name', { ...streamed, model: 'fake-omni' }],
  [
    'a refusal in place of content',
    { ...streamed, messages: [user('a'), { role: 'assistant', content: null, refusal: 'No.' }, user('b')] },
  ],
  [
    'a refusal as a part',
    {
      ...streamed,
      messages: [user('a'), { role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] }, user('b')],
    },
  ],
  ['mp3, in a whole reply', { model, messages: [user('hello')], ...audio, audio: { voice: 'Cherry', format: 'mp3' } }],
]

describe('leniencies', () => {
  it.each(leniencies)('%s: on /v1 only', async (_, body) => {
    expect((await lenient(body)).status).toBe(200)
    const refused = await strict(body)
    expect(refused.status).toBeGreaterThanOrEqual(400)
    expect(refused.status).toBeLessThan(500)
  })

  it('several modalities in one message: on /v1 only', async () => {
    const image = dataUri(await png(64, 64), 'image/png')
    const parts = [
      { type: 'image_url', image_url: { url: image } },
      { type: 'input_audio', input_audio: { data: dataUri(wav(1)) } },
      { type: 'text', text: 'both?' },
    ]
    expect((await strict({ ...streamed, messages: [user(parts)] })).status).toBe(400)
    const reply = await readReply(await lenient({ ...streamed, messages: [user(parts)] }))
    expect(reply.text).toContain('an image of 64 by 64 and 1.0 seconds of sound')
  })

  it("a checkpoint's model and voices are found by its name: on /v1 only", async () => {
    for (const path of ['models/fake-omni', 'voices?model=fake-omni']) {
      expect([path, (await fetch(`${server.url}/v1/${path}`)).status]).toEqual([path, 200])
      expect([path, (await fetch(`${server.url}/compatible-mode/v1/${path}`)).status]).toEqual([path, 404])
    }
    expect(await (await fetch(`${server.url}/v1/models/fake-omni`)).json()).toMatchObject({ id: 'fake-omni' })
  })

  it('modalities follow from an audio object: on /v1 only', async () => {
    const body = { ...streamed, audio: audio.audio }
    expect((await readReply(await lenient(body))).samples.length).toBeGreaterThan(0)
    expect((await readReply(await strict(body))).samples.length).toBe(0)
  })

  it('developer text arrives as the system message', async () => {
    await (await lenient({ ...streamed, messages: [{ role: 'developer', content: 'Be kind.' }, user('a')] })).text()
    expect(server.engine.requests.at(-1)!.messages[0]).toMatchObject({
      role: 'system',
      content: [{ text: 'Be kind.' }],
    })
  })

  it('a turn may refer to the audio of an earlier reply, streamed or whole', async () => {
    for (const stream of [true, false]) {
      const response = await lenient({ model, messages: [user('hello')], ...audio, stream })
      const text = await response.text()
      const id = /audio_[0-9a-f-]{36}/.exec(text)![0]
      const cited = { role: 'assistant', audio: { id } }
      const next = await lenient({ ...streamed, messages: [user('hello'), cited, user('again')] })
      expect(next.status).toBe(200)
      await next.text()
      expect(server.engine.requests.at(-1)!.messages[1]).toMatchObject({ content: [{ text: 'You said: hello' }] })
    }
  })

  it('an unknown voice is answered with the list', async () => {
    const body = { ...streamed, ...audio, audio: { voice: 'Chery', format: 'wav' } }
    const { error } = (await (await lenient(body)).json()) as { error: { message: string; param: string } }
    expect(error.message).toContain("Did you mean 'Cherry'? Voices of qwen3-omni-flash: Cherry, ")
    expect(error.param).toBe('audio.voice')
  })
})

describe('on both routes', () => {
  it.each(['/compatible-mode/v1', '/v1'])('%s: pcm16 and pcm are the bytes of wav', async (path) => {
    const replies = await Promise.all(
      ['wav', 'pcm16', 'pcm'].map(async (format) =>
        readReply(await post(path, { ...streamed, ...audio, audio: { voice: 'Cherry', format } })),
      ),
    )
    expect(replies[0]!.samples.length).toBeGreaterThan(0)
    for (const reply of replies) expect(reply.pieces).toEqual(replies[0]!.pieces)
  })

  it("errors give the fix: in the message on /v1, separately where the message is the service's", async () => {
    const wrong = { ...streamed, model: 'qwen3-omni-flsh' }
    const own = 'The model `qwen3-omni-flsh` does not exist or you do not have access to it.'
    const hint = "Did you mean 'qwen3-omni-flash'? Models of region intl: qwen3-omni-flash, "
    const open = (await (await lenient(wrong)).json()) as { error: { message: string } }
    expect(open.error.message).toContain(`${own} ${hint}`)
    expect(open.error.message).toContain('Checkpoints loaded here: fake-omni.')
    const refused = await strict(wrong)
    const { error } = (await refused.json()) as { error: { message: string } }
    expect(error.message).toContain(`${own} ${hint}`)
    expect(error.message).not.toContain('fake-omni')
    const mute = await strict({ ...streamed, modalities: ['text', 'audio'], audio: { voice: 'chery', format: 'wav' } })
    expect(await mute.json()).toMatchObject({
      error: {
        message: "<400> InternalError.Algo.InvalidParameter: Voice 'chery' is not supported.",
        hint: expect.stringMatching(/^Did you mean 'Cherry'\? Voices of \S+: Cherry, /) as string,
      },
    })
    const empty = await lenient({ ...streamed, messages: [user('')] })
    expect(await empty.text()).toContain('49152]. The user messages have no text and no media.')
    const whole = await strict({ model, messages: [user('hello')] })
    expect(await whole.json()).toMatchObject({
      error: {
        message: 'This model only support stream mode, please enable the stream parameter to access the model. ',
        hint: expect.stringContaining('/v1 also answers without it') as string,
      },
    })
    expect(whole.headers.get('x-omniserve-hint')).toContain('/v1 also answers without it')
  })

  it.each(['/compatible-mode/v1', '/v1'])('%s: errors say what the checkpoint lacks', async (path) => {
    const tools = (await (
      await post(path, { ...streamed, tools: [{ type: 'function', function: { name: 'f' } }] })
    ).json()) as {
      error: { message: string }
    }
    expect(tools.error.message).toContain(
      "The tool call is not supported. The checkpoint 'fake-omni' loaded here has no tools",
    )
  })
})

describe('whole replies', () => {
  const client = (): OpenAI => new OpenAI({ apiKey: 'none', baseURL: `${server.url}/v1` })

  it('match the types of the SDK', async () => {
    const reply = await client().chat.completions.create({ model, messages: [{ role: 'user', content: 'hello' }] })
    expect(reply.choices[0]!.message.content).toBe('You said: hello')
    expect(reply.choices[0]!.finish_reason).toBe('stop')
    expect(reply.usage!.total_tokens).toBeGreaterThan(0)
  })

  it('have audio as a file of the requested format', async () => {
    const speak = (format: 'wav' | 'mp3' | 'opus' | 'pcm16') =>
      client().chat.completions.create({
        model,
        messages: [{ role: 'user', content: 'hello' }],
        modalities: ['text', 'audio'],
        audio: { voice: 'Cherry', format },
      })
    const { message } = (await speak('wav')).choices[0]!
    expect(message.content).toBeNull()
    expect(message.audio!.transcript).toBe('You said: hello')
    const file = decodeWav(Buffer.from(message.audio!.data, 'base64'))
    expect([file.sampleRate, file.channels]).toEqual([24_000, 1])
    const pcm = Buffer.from((await speak('pcm16')).choices[0]!.message.audio!.data, 'base64')
    expect(pcm.length).toBe(file.samples.length * 2)
    const mp3 = Buffer.from((await speak('mp3')).choices[0]!.message.audio!.data, 'base64')
    expect(mp3[0] === 0xff || mp3.toString('latin1', 0, 3) === 'ID3').toBe(true)
    const opus = Buffer.from((await speak('opus')).choices[0]!.message.audio!.data, 'base64')
    expect(opus.toString('latin1', 0, 4)).toBe('OggS')
  })
})

describe("the AI SDK's clients", () => {
  it('generate and stream', async () => {
    const provider = createOpenAICompatible({ name: 'omniserve', baseURL: `${server.url}/v1` })
    const { text, usage } = await generateText({ model: provider('fake-omni'), prompt: 'hello' })
    expect(text).toBe('You said: hello')
    expect(usage.totalTokens).toBeGreaterThan(0)
    const stream = streamText({ model: provider(model), prompt: 'hello' })
    let streamed = ''
    for await (const piece of stream.textStream) streamed += piece
    expect(streamed).toBe('You said: hello')
  })

  it('call tools', async () => {
    const provider = createOpenAICompatible({ name: 'omniserve', baseURL: `${toolServer.url}/v1` })
    const { toolCalls, finishReason } = await generateText({
      model: provider(model),
      prompt: 'call weather {"city":"Rome"}',
      tools: { weather: tool({ inputSchema: z.object({ city: z.string() }) }) },
    })
    expect(toolCalls).toMatchObject([{ toolName: 'weather', input: { city: 'Rome' } }])
    expect(finishReason).toBe('tool-calls')
  })
})

describe('tools', () => {
  const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }] as const
  const client = (): OpenAI => new OpenAI({ apiKey: 'none', baseURL: `${toolServer.url}/v1` })

  it("are streamed as OpenAI's deltas, on both routes", async () => {
    for (const path of ['/compatible-mode/v1', '/v1']) {
      const body = { ...streamed, messages: [user('call weather {"city":"Rome"}')], tools }
      const reply = await readReply(await post(path, body, toolServer))
      const calls = reply.chunks.flatMap((chunk) => chunk.choices.flatMap(({ delta }) => delta.tool_calls ?? []))
      expect(calls).toMatchObject([
        { index: 0, type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } },
      ])
      expect(calls[0]!.id).toBeDefined()
      expect(reply.finish).toBe('tool_calls')
    }
  })

  it('are called; their result is answered', async () => {
    const first = await client().chat.completions.create({
      model,
      messages: [{ role: 'user', content: 'call weather {"city":"Rome"}' }],
      tools: [...tools],
    })
    const { message, finish_reason: finish } = first.choices[0]!
    expect(finish).toBe('tool_calls')
    const call = message.tool_calls![0]!
    const second = await client().chat.completions.create({
      model,
      messages: [
        { role: 'user', content: 'call weather {"city":"Rome"}' },
        message,
        { role: 'tool', tool_call_id: call.id, content: 'sunny' },
      ],
      tools: [...tools],
    })
    expect(second.choices[0]!.finish_reason).toBe('stop')
    const asked = toolServer.engine.requests.at(-1)!
    expect(asked.tools).toEqual([{ name: 'weather', parameters: { type: 'object' } }])
    expect(asked.messages.slice(1)).toEqual([
      {
        role: 'assistant',
        content: [{ type: 'text', text: '' }],
        toolCalls: [{ id: call.id, name: 'weather', arguments: '{"city":"Rome"}' }],
      },
      { role: 'tool', toolCallId: call.id, content: [{ type: 'text', text: 'sunny' }] },
    ])
  })

  it('are refused for turbo, and `required` is refused on the strict route', async () => {
    const turbo = await post('/v1', { ...streamed, model: 'qwen-omni-turbo', tools }, toolServer)
    expect(turbo.status).toBe(400)
    expect(await turbo.text()).toContain('The tool call is not supported.')
    const required = { ...streamed, tools, tool_choice: 'required' }
    expect((await post('/compatible-mode/v1', required, toolServer)).status).toBe(400)
    expect((await post('/v1', required, toolServer)).status).toBe(200)
    expect(toolServer.engine.requests.at(-1)!.toolChoice).toBe('required')
    // A call that must be made, and nothing to call.
    const { tools: _, ...without } = required
    const refused = await post('/v1', without, toolServer)
    expect([refused.status, await refused.json()]).toMatchObject([400, { error: { param: 'tool_choice' } }])
  })
})
