/** OpenAI's realtime wire over the fake engine, by the official SDK's client and a raw socket. */
import { connect } from 'node:net'
import OpenAI from 'openai'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import { describe, expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { MODEL_QUERY, oneSentence, order, pcmBase64, RealtimeClient, silence, to24k } from './client.ts'
import { startForFile } from './fake-sessions.ts'

const server = await startForFile({ apiKey: ['secret'] }, { tokenDelayMs: 2 })

const url = (query = MODEL_QUERY): string => `${server.url}/v1/realtime?${query}`
const open = (query?: string, headers: Record<string, string> = {}): Promise<RealtimeClient> =>
  RealtimeClient.open(url(query), { authorization: 'Bearer secret', ...headers })

describe('the official SDK', () => {
  it('holds a spoken turn', async () => {
    const client = new OpenAI({ apiKey: 'secret', baseURL: `${server.url}/v1` })
    // The SDK's client uses TLS whatever the URL; the test server does not.
    const plain = { createConnection: () => connect(Number(new URL(server.url).port), '127.0.0.1') }
    const realtime = new OpenAIRealtimeWS({ model: 'fake-omni', options: plain }, client)
    const seen: string[] = []
    let transcript = ''
    let bytes = 0
    await new Promise<void>((resolve, reject) => {
      realtime.on('event', ({ type }) => seen.push(type))
      realtime.on('error', reject)
      realtime.on('session.created', () => {
        realtime.send({
          type: 'session.update',
          session: { type: 'realtime', output_modalities: ['audio'], audio: { output: { voice: 'Cherry' } } },
        })
        for (const samples of [to24k(oneSentence), to24k(silence(1))]) {
          realtime.send({ type: 'input_audio_buffer.append', audio: pcmBase64(samples) })
        }
      })
      realtime.on('response.output_audio_transcript.delta', ({ delta }) => (transcript += delta))
      realtime.on('response.output_audio.delta', ({ delta }) => (bytes += Buffer.from(delta, 'base64').length))
      realtime.on('response.done', ({ response }) => {
        expect(response.status).toBe('completed')
        expect(response.usage?.output_token_details?.audio_tokens).toBeGreaterThan(0)
        resolve()
      })
    })
    realtime.close()
    expect(transcript).toContain('seconds of sound')
    expect(bytes).toBeGreaterThan(24_000)
    expect(order(seen.filter((type) => !type.endsWith('.delta')))).toEqual([
      'session.created',
      'session.updated',
      'input_audio_buffer.speech_started',
      'input_audio_buffer.speech_stopped',
      'input_audio_buffer.committed',
      'conversation.item.added',
      'conversation.item.done',
      'response.created',
      'response.output_item.added',
      'conversation.item.added',
      'response.content_part.added',
      'response.output_audio_transcript.done',
      'response.output_audio.done',
      'response.content_part.done',
      'response.output_item.done',
      'conversation.item.done',
      'response.done',
    ])
  })
})

describe('the socket', () => {
  it('takes the key from a header or a subprotocol, and selects `realtime`', async () => {
    await expect(RealtimeClient.open(url())).rejects.toThrow('401')
    await expect(RealtimeClient.open(url(), { authorization: 'Bearer wrong' })).rejects.toThrow('401')
    await using client = await RealtimeClient.open(url(), {}, ['realtime', 'openai-insecure-api-key.secret'])
    expect(client.socket.protocol).toBe('realtime')
    await client.next('session.created')
  })

  it('uses the beta dialect when the header asks for it', async () => {
    await using client = await open(undefined, { 'openai-beta': 'realtime=v1' })
    const { session } = await client.next('session.created')
    expect(session).toMatchObject({ input_audio_format: 'pcm16', output_audio_format: 'pcm16' })
    client.send({ type: 'session.update', session: { turn_detection: null, modalities: ['text'] } })
    client.say(to24k(oneSentence), 24_000)
    const response = await client.reply()
    // The length at 16 kHz, whatever its input rate.
    expect(response.output[0].content[0].text).toContain('2.7 seconds of sound')
  })
})

describe('items', () => {
  it('are created, retrieved, truncated and deleted', async () => {
    await using client = await open()
    client.send({ type: 'session.update', session: { type: 'realtime', audio: { input: { turn_detection: null } } } })
    client.send({
      type: 'conversation.item.create',
      item: { id: 'msg_1', type: 'message', role: 'user', content: [{ type: 'input_text', text: 'one two three' }] },
    })
    client.send({ type: 'conversation.item.retrieve', item_id: 'msg_1' })
    expect((await client.next('conversation.item.retrieved')).item).toMatchObject({ id: 'msg_1', role: 'user' })
    const response = await client.reply({ metadata: { topic: 'numbers' } })
    expect(response.metadata).toEqual({ topic: 'numbers' })
    const { id } = response.output[0]
    client.send({ type: 'conversation.item.truncate', item_id: id, content_index: 0, audio_end_ms: 99_999 })
    expect((await client.next('error')).error.message).toContain('already shorter')
    client.send({ type: 'conversation.item.truncate', item_id: id, content_index: 0, audio_end_ms: 500 })
    await client.next('conversation.item.truncated')
    client.send({ type: 'conversation.item.retrieve', item_id: id })
    const { item } = await client.next('conversation.item.retrieved')
    expect(item.content[0].transcript.length).toBeLessThan(response.output[0].content[0].transcript.length)
    client.send({ type: 'conversation.item.delete', item_id: 'msg_1' })
    await client.next('conversation.item.deleted')
  })

  it('of a reply outside the conversation are not kept', async () => {
    await using client = await open()
    const hello = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hello' }] }
    client.send({ type: 'conversation.item.create', item: hello })
    await client.reply({ conversation: 'none', output_modalities: ['text'] })
    await client.reply({ output_modalities: ['text'] })
    expect(server.engine.requests.at(-1)!.messages.map(({ role }) => role)).toEqual(['user'])
  })

  it('of one reply may replace the conversation', async () => {
    await using client = await open()
    const message = (text: string): object => ({
      type: 'message',
      role: 'user',
      content: [{ type: 'input_text', text }],
    })
    client.send({ type: 'conversation.item.create', item: { id: 'msg_1', ...message('hello') } })
    client.send({ type: 'conversation.item.create', item: { id: 'msg_2', ...message('left out') } })
    const reply = { conversation: 'none', output_modalities: ['text'], instructions: 'Read it aloud.' }
    const image = `data:image/jpeg;base64,${(await jpeg(64, 48)).toString('base64')}`
    client.send({
      type: 'response.create',
      response: {
        ...reply,
        input: [
          { type: 'item_reference', id: 'msg_1' },
          { type: 'message', role: 'user', content: [{ type: 'input_image', image_url: image }] },
        ],
      },
    })
    const { response } = await client.next('response.done')
    expect(response.output[0].content[0].text).toBe('You said:  I got an image of 64 by 48.')
    const asked = server.engine.requests.at(-1)!.messages
    expect(asked.map(({ role }) => role)).toEqual(['system', 'user', 'user'])
    expect(asked[1]!.content).toEqual([{ type: 'text', text: 'hello' }])
    await client.reply({ output_modalities: ['text'] })
    expect(server.engine.requests.at(-1)!.messages).toHaveLength(2)
  })

  it('begins with the assistant when there are instructions only', async () => {
    await using client = await open()
    const response = await client.reply({ instructions: 'Greet the user.', output_modalities: ['text'] })
    expect(response.output[0].content[0]).toEqual({ type: 'output_text', text: 'You said: Greet the user.' })
  })
})

describe('mistakes', () => {
  it.each([
    [{ type: 'session.update', session: { modalities: ['text'] } }, 'OpenAI-Beta: realtime=v1'],
    [{ type: 'session.update', session: { type: 'transcription' } }, 'transcription sessions'],
    [{ type: 'session.update', session: { audio: { output: { voice: 'alloy' } } } }, "Voice 'alloy' is not supported."],
    [{ type: 'session.update', session: { audio: { output: { speed: 2 } } } }, 'own pace'],
    [{ type: 'session.update', session: { audio: { input: { format: { type: 'audio/pcmu' } } } } }, 'audio/pcm'],
    [{ type: 'session.update', session: { tools: [{ type: 'function', name: 'f' }] } }, 'no tools'],
    [{ type: 'response.create', response: { input: {} } }, "'response.input' should be a list of items"],
    [{ type: 'response.create', response: { input: [{ type: 'item_reference', id: 'x' }] } }, "No item has the id 'x'"],
  ] as const)('%j names the fix', async (event, text) => {
    await using client = await open()
    client.send({ event_id: 'mine', ...event })
    const { error } = await client.next('error')
    expect(error.message).toContain(text)
    expect(error.event_id).toBe('mine')
    await client.update({ type: 'realtime' })
  })
})
