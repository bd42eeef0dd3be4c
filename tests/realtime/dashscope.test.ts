/**
 * DashScope's realtime wire over the fake engine: the order of events, rules, errors and closes of docs/realtime.md.
 */
import { describe, expect, it } from 'vitest'
import { jpeg } from '../support/media.ts'
import { oneSentence, order, pcmBase64, RealtimeClient, SDK_SESSION, silence, twoSentences } from './client.ts'
import { startForFile } from './fake-sessions.ts'

const server = await startForFile({ realtimeIdle: 0 }, { tokenDelayMs: 5 })

const open = (query?: string): Promise<RealtimeClient> => RealtimeClient.dashscope(server, query)

const SPOKEN_REPLY = [
  'response.created',
  'response.output_item.added',
  'conversation.item.created',
  'response.content_part.added',
]
const SPOKEN_END = [
  'response.audio_transcript.done',
  'response.audio.done',
  'response.content_part.done',
  'response.output_item.done',
  'response.done',
]

describe('opening', () => {
  it('begins with the documented session', async () => {
    await using client = await open()
    const { session } = await client.next('session.created')
    expect(session).toMatchObject({
      object: 'realtime.session',
      model: 'qwen3-omni-flash-realtime',
      modalities: ['text', 'audio'],
      voice: 'Cherry',
      input_audio_format: 'pcm16',
      output_audio_format: 'pcm24',
      turn_detection: { type: 'server_vad', threshold: 0.5, prefix_padding_ms: 300, silence_duration_ms: 800 },
      tools: [],
      tool_choice: 'auto',
    })
    expect(session.id).toMatch(/^sess_[A-Za-z0-9]{21}$/)
  })

  it('refuses an unknown model with the list of models', async () => {
    const response = await fetch(`${server.url}/api-ws/v1/realtime?model=x`)
    expect(response.status).toBe(426)
    await expect(open('model=qwen3-omni-flash-realtme')).rejects.toThrow('404')
    await expect(open('')).rejects.toThrow('400')
  })

  it('accepts what the official SDKs send, including nulls', async () => {
    await using client = await open()
    client.send({
      event_id: 'event_1',
      type: 'session.update',
      session: { ...SDK_SESSION, tools: [] },
    })
    const { session } = await client.next('session.updated')
    expect(session).toMatchObject({ voice: 'Cherry', output_audio_format: 'pcm16', smooth_output: true })
    expect(session.turn_detection.threshold).toBe(0.2)
  })
})

describe('a turn', () => {
  it('found by voice activity has the documented event order', async () => {
    await using client = await open()
    client.send({ type: 'session.update', session: { input_audio_transcription: null } })
    client.speak(oneSentence)
    client.speak(silence(1))
    const done = await client.next('response.done')
    expect(order(client.types)).toEqual([
      'session.created',
      'session.updated',
      'input_audio_buffer.speech_started',
      'input_audio_buffer.speech_stopped',
      'input_audio_buffer.committed',
      'conversation.item.created',
      ...SPOKEN_REPLY,
      ...order(client.types.filter((type) => type.endsWith('.delta'))),
      ...SPOKEN_END,
    ])
    expect(done.response.status).toBe('completed')
    expect(done.response.output[0].content[0].transcript).toContain('seconds of sound')
    expect(done.response.usage.input_tokens_details.audio_tokens).toBeGreaterThan(10)
    const started = client.events.find(({ type }) => type.endsWith('speech_started'))!
    const stopped = client.events.find(({ type }) => type.endsWith('speech_stopped'))!
    // The sentence begins after 0.6 s; 300 ms before it belong to the turn.
    expect(started.audio_start_ms).toBeGreaterThan(200)
    expect(started.audio_start_ms).toBeLessThan(450)
    expect(stopped.audio_end_ms).toBeGreaterThan(2400)
    expect(stopped.audio_end_ms).toBeLessThan(3000)
  })

  it('by hand: commit creates the item, response.create the reply', async () => {
    await using client = await open()
    client.send({ type: 'session.update', session: { turn_detection: null, input_audio_transcription: null } })
    client.say(oneSentence)
    await client.reply()
    expect(order(client.types)).toEqual([
      'session.created',
      'session.updated',
      'input_audio_buffer.committed',
      'conversation.item.created',
      ...SPOKEN_REPLY,
      ...order(client.types.filter((type) => type.endsWith('.delta'))),
      ...SPOKEN_END,
    ])
  })

  it.each([
    [{ sample_rate: 8000, input_audio_format: 'pcm' }, 0.5],
    [{ audio: { input: { format: { type: 'pcm', sample_rate: 48_000 } } } }, 3],
  ])('may be at another rate: %j', async (format, factor) => {
    await using client = await open()
    client.send({ type: 'session.update', session: { turn_detection: null, modalities: ['text'], ...format } })
    client.say(silence(2 * factor))
    const response = await client.reply()
    expect(response.output[0].content[0].text).toContain(' 2.0 seconds of sound')
  })

  it('as text only has the captured event order', async () => {
    await using client = await open()
    client.send({ type: 'session.update', session: { modalities: ['text'], turn_detection: null } })
    client.write('hello')
    const response = await client.reply()
    expect(order(client.types).slice(2)).toEqual([
      'conversation.item.created',
      'response.created',
      'response.output_item.added',
      'conversation.item.created',
      'response.content_part.added',
      'response.text.delta',
      'response.text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.done',
    ])
    expect(response.output[0].content).toEqual([{ type: 'text', text: 'You said: hello' }])
    const item = client.events.find(({ type }) => type === 'response.output_item.done')!
    expect(item.item.content).toEqual([{ type: 'text' }])
  })

  it('includes the images sent with its audio', async () => {
    await using client = await open()
    client.send({ type: 'session.update', session: { turn_detection: null, modalities: ['text'] } })
    const image = (await jpeg(64, 48)).toString('base64')
    client.send({ type: 'input_image_buffer.append', image })
    expect((await client.next('error')).error.message).toContain('Append audio before')
    client.speak(oneSentence)
    client.send({ type: 'input_image_buffer.append', image })
    client.send({ type: 'input_audio_buffer.commit' })
    const response = await client.reply()
    expect(response.output[0].content[0].text).toContain('an image of 64 by 48')
    expect(response.usage.input_tokens_details.image_tokens).toBeGreaterThan(0)
  })

  it('is transcribed by the model after its reply', async () => {
    await using client = await open()
    client.speak(oneSentence)
    client.speak(silence(1))
    const completed = await client.next('conversation.item.input_audio_transcription.completed')
    expect(completed.transcript).toContain('Transcribe the audio.')
    const types = client.types
    expect(types.indexOf('response.done')).toBeLessThan(types.indexOf(completed.type))
  })

  it('is sent with the newest earlier turns', async () => {
    await using client = await open()
    client.send({
      type: 'session.update',
      session: { turn_detection: null, modalities: ['text'], instructions: 'Be kind.' },
    })
    for (let turn = 0; turn < 10; turn += 1) {
      client.write(`turn ${turn}`)
      await client.reply()
    }
    const asked = server.engine.requests.at(-1)!
    const users = asked.messages.filter(({ role }) => role === 'user')
    expect(users).toHaveLength(8)
    expect(users[0]!.content).toEqual([{ type: 'text', text: 'turn 2' }])
    expect(asked.messages[0]).toMatchObject({ role: 'system', content: [{ text: 'Be kind.' }] })
    expect(asked.cacheScope).toBeDefined()
  })
})

describe('interruption', () => {
  it('ends the reply with every done event, and keeps what was played', async () => {
    await using client = await open()
    client.send({ type: 'session.update', session: { input_audio_transcription: null } })
    client.write('word '.repeat(4000))
    client.send({ type: 'response.create' })
    await client.next('response.audio.delta')
    const before = client.events.length
    client.speak(oneSentence)
    client.speak(silence(1))
    const done = await client.next('response.done')
    expect(done.response.status).toBe('cancelled')
    expect(done.response.status_details.reason).toBe('turn_detected')
    const types = client.types.slice(before)
    const started = types.indexOf('input_audio_buffer.speech_started')
    expect(types.slice(started + 1, started + 6)).toEqual(SPOKEN_END)
    expect(done.response.usage.output_tokens).toBeGreaterThan(0)
    await client.next('response.done')
    const history = server.engine.requests.at(-1)!.messages
    const reply = history.find(({ role }) => role === 'assistant')
    const text =
      reply === undefined ? '' : reply.content.map((part) => (part.type === 'text' ? part.text : '')).join('')
    // It is sent much faster than it plays, so little of it was played.
    expect(text.length).toBeLessThan(done.response.output[0].content[0].transcript.length)
  })

  it('by response.cancel; with no reply running, it is the documented error', async () => {
    await using client = await open()
    client.send({ type: 'response.cancel', event_id: 'mine' })
    const { error } = await client.next('error')
    expect(error).toMatchObject({
      type: 'invalid_request_error',
      message: 'Conversation has none active response',
      event_id: 'mine',
    })
    client.write('word '.repeat(4000))
    client.send({ type: 'response.create' })
    await client.next('response.audio.delta')
    client.send({ type: 'response.create' })
    expect((await client.next('error')).error.message).toContain('already has an active response')
    client.send({ type: 'response.cancel' })
    expect((await client.next('response.done')).response.status).toBe('cancelled')
    client.send({ type: 'response.create' })
    await client.next('response.created')
  })
})

describe('mistakes', () => {
  it.each([
    [{ type: 'session.updat' }, "Did you mean 'session.update'?", 'type'],
    [{}, "no 'type'", 'type'],
    [
      { type: 'session.update', session: { modalities: ['audio'] } },
      "Invalid modalities: ['audio']",
      'session.modalities',
    ],
    [
      { type: 'session.update', session: { turn_detection: { silence_duration_ms: 100 } } },
      '200 to 6000',
      'session.turn_detection.silence_duration_ms',
    ],
    [
      { type: 'session.update', session: { tools: [{ type: 'function' }] } },
      'no tools in its chat template',
      'session.tools',
    ],
    [{ type: 'session.update', session: { enable_search: true } }, 'enable_search', 'session.enable_search'],
    [{ type: 'session.update', session: { input_audio_format: 'opus' } }, 'pcm16', 'session.input_audio_format'],
    [{ type: 'session.update', session: { temperature: 9 } }, 'session.temperature', 'session.temperature'],
    [{ type: 'session.update', session: 5 }, 'an object', 'session'],
    [{ type: 'input_audio_buffer.append', audio: '***' }, 'Base64', 'audio'],
    [{ type: 'input_audio_buffer.append', audio: 'AAAA' }, '3 bytes', 'audio'],
    [{ type: 'input_audio_buffer.append' }, 'a string', 'audio'],
    [{ type: 'input_audio_buffer.commit' }, 'buffer is empty', null],
    [
      { type: 'conversation.item.create', item: { type: 'message', role: 'robot', content: [] } },
      'user, system or assistant',
      'item.role',
    ],
    [
      { type: 'conversation.item.create', item: { type: 'function_call_output', call_id: 'x', output: '' } },
      'No call',
      'item.call_id',
    ],
    [{ type: 'conversation.item.delete', item_id: 'x' }, "No item has the id 'x'", 'item_id'],
    [{ type: 'response.create' }, 'nothing to answer', 'response'],
  ] as const)('%j is an error, and the session continues', async (event, text, param) => {
    await using client = await open()
    client.send({ event_id: 'mine', ...event })
    const { error } = await client.next('error')
    expect(error.message).toContain(text)
    expect(error).toMatchObject({ param, event_id: 'mine' })
    await client.update({})
  })

  it('closes for an unknown voice, as the service does', async () => {
    await using client = await open()
    client.send({ type: 'session.update', session: { voice: 'Chery' } })
    expect((await client.next('error')).error.message).toContain("Did you mean 'Cherry'?")
    expect(await client.closed).toMatchObject({
      code: 1007,
      reason: expect.stringContaining("Voice 'Chery' is not supported."),
    })
  })

  it('ends with session.finish after the reply', async () => {
    await using client = await open()
    client.write('hi')
    client.send({ type: 'response.create' })
    client.send({ type: 'session.finish' })
    await client.next('response.done')
    await client.next('session.finished')
    expect((await client.closed).code).toBe(1000)
  })

  it('answers the last turn before session.finish ends the session', async () => {
    await using client = await open()
    client.send({ type: 'session.update', session: { turn_detection: null, modalities: ['text'] } })
    client.say(oneSentence)
    client.send({ type: 'session.finish' })
    await client.next('session.finished')
    expect(client.types).toContain('conversation.item.input_audio_transcription.completed')
  })

  it('survives invalid JSON, binary frames and large events', async () => {
    await using client = await open()
    client.socket.send('no json')
    client.socket.send('[1]')
    client.socket.send(Buffer.from([1, 2, 3]))
    for (const text of ['not JSON', 'JSON object', 'Binary frames']) {
      expect((await client.next('error')).error.message).toContain(text)
    }
    client.send({ type: 'session.update', session: { turn_detection: null } })
    client.send({ type: 'input_audio_buffer.append', audio: pcmBase64(silence(200)) })
    client.send({ type: 'input_audio_buffer.append', audio: pcmBase64(silence(200)) })
    expect((await client.next('error')).error.code).toBe('input_audio_buffer_too_long')
    client.socket.send('x'.repeat(22 * 1024 * 1024))
    expect((await client.closed).code).toBe(1009)
  })
})

describe('two sentences', () => {
  it('are two turns, the second interrupting the first reply or following it', async () => {
    await using client = await open()
    client.send({ type: 'session.update', session: { modalities: ['text'], input_audio_transcription: null } })
    client.speak(twoSentences)
    client.speak(silence(1))
    await client.next('response.done')
    await client.next('response.done')
    expect(client.types.filter((type) => type === 'input_audio_buffer.committed')).toHaveLength(2)
  })
})
