/**
 * The official Node SDK's realtime client: turns by voice and by hand, images, tools, interruption, transcripts, a
 * long session.
 */
import { connect } from 'node:net'
import OpenAI from 'openai'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import type { RealtimeServerEvent } from 'openai/resources/realtime/realtime'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { oneSentence, pcmBase64, silence, to24k } from '../realtime/client.ts'
import { jpeg } from '../support/media.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ apiKey: ['secret'] }, fakeEngine({ tools: true, tokenDelayMs: 2 }))
})
afterAll(() => server.stop(0))

type Of<T extends RealtimeServerEvent['type']> = Extract<RealtimeServerEvent, { type: T }>

class Talk implements AsyncDisposable {
  readonly realtime: OpenAIRealtimeWS
  readonly events: RealtimeServerEvent[] = []
  #changed: (() => void)[] = []
  #seen = 0

  constructor() {
    const client = new OpenAI({ apiKey: 'secret', baseURL: `${server.url}/v1` })
    // The SDK's client uses TLS whatever the URL; the test server does not.
    const options = { createConnection: () => connect(Number(new URL(server.url).port), '127.0.0.1') }
    this.realtime = new OpenAIRealtimeWS({ model: 'fake-omni', options }, client)
    // Without a listener the SDK throws errors where they cannot be caught.
    this.realtime.on('error', () => undefined)
    this.realtime.on('event', (event) => {
      this.events.push(event)
      for (const go of this.#changed.splice(0)) go()
    })
  }

  async next<T extends RealtimeServerEvent['type']>(type: T): Promise<Of<T>> {
    for (;;) {
      const at = this.events.findIndex((event, index) => index >= this.#seen && event.type === type)
      if (at >= 0) {
        this.#seen = at + 1
        return this.events[at] as Of<T>
      }
      await new Promise<void>((resolve) => this.#changed.push(resolve))
    }
  }

  say(...parts: readonly Float32Array[]): void {
    for (const samples of parts) {
      const audio = pcmBase64(to24k(samples))
      this.realtime.send({ type: 'input_audio_buffer.append', audio })
    }
  }

  write(text: string): void {
    this.realtime.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.realtime.socket.once('close', resolve))
    this.realtime.close()
    await closed
  }
}

const byHand = { type: 'realtime', audio: { input: { turn_detection: null } } } as const

/** A session with its settings applied. */
async function open(session: OpenAI.Realtime.RealtimeSessionCreateRequest): Promise<Talk> {
  const talk = new Talk()
  await talk.next('session.created')
  talk.realtime.send({ type: 'session.update', session })
  await talk.next('session.updated')
  return talk
}

const spokenText = ({ response }: Of<'response.done'>): string => {
  const [item] = response.output!
  if (item?.type !== 'message' || item.role !== 'assistant') return ''
  return item.content[0]!.transcript ?? item.content[0]!.text ?? ''
}

describe('turns', () => {
  it('ended by hand are transcribed, ten in one session', async () => {
    await using talk = await open({
      type: 'realtime',
      audio: { input: { turn_detection: null, transcription: { model: 'whisper-1' } } },
    })
    for (let turn = 0; turn < 10; turn += 1) {
      talk.say(oneSentence)
      talk.realtime.send({ type: 'input_audio_buffer.commit' })
      talk.realtime.send({ type: 'response.create' })
      const done = await talk.next('response.done')
      expect(done.response.status).toBe('completed')
      expect(spokenText(done)).toMatch(/ 2\.[78] seconds of sound/)
      const { transcript } = await talk.next('conversation.item.input_audio_transcription.completed')
      expect(transcript).toContain('Transcribe the audio.')
    }
  })

  it('may contain an image', async () => {
    await using talk = await open(byHand)
    const image = `data:image/jpeg;base64,${(await jpeg(64, 48)).toString('base64')}`
    talk.realtime.send({
      type: 'conversation.item.create',
      item: {
        type: 'message',
        role: 'user',
        content: [
          { type: 'input_image', image_url: image },
          { type: 'input_text', text: 'What is it?' },
        ],
      },
    })
    talk.realtime.send({ type: 'response.create', response: { output_modalities: ['text'] } })
    const done = await talk.next('response.done')
    expect(spokenText(done)).toBe('You said: What is it? I got an image of 64 by 48.')
    expect(done.response.usage!.input_token_details!.image_tokens).toBeGreaterThan(0)
    expect(done.response.usage!.output_token_details!.text_tokens).toBeGreaterThan(0)
  })

  it('are interrupted by the user, and truncated to what was played', async () => {
    await using talk = await open({ type: 'realtime', audio: { output: { voice: 'Cherry' } } })
    talk.write('word '.repeat(400))
    talk.realtime.send({ type: 'response.create' })
    const { item_id: itemId } = await talk.next('response.output_audio.delta')
    talk.say(oneSentence, silence(1))
    await talk.next('input_audio_buffer.speech_started')
    talk.realtime.send({
      type: 'conversation.item.truncate',
      item_id: itemId,
      content_index: 0,
      audio_end_ms: 80,
    })
    const cut = await talk.next('response.done')
    expect([cut.response.status, cut.response.status_details!.reason]).toEqual(['cancelled', 'turn_detected'])
    const reply = await talk.next('response.done')
    expect(spokenText(reply)).toContain('seconds of sound')
  })
})

describe('tools', () => {
  it('are called; their output is answered', async () => {
    await using talk = await open({
      type: 'realtime',
      output_modalities: ['text'],
      audio: { input: { turn_detection: null } },
      tools: [
        {
          type: 'function',
          name: 'weather',
          parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
        },
      ],
      tool_choice: 'auto',
    })
    talk.write('call weather {"city": "Rome"}')
    talk.realtime.send({ type: 'response.create' })
    const call = await talk.next('response.function_call_arguments.done')
    expect([call.name, call.arguments]).toEqual(['weather', '{"city": "Rome"}'])
    const { response } = await talk.next('response.done')
    expect(response.output).toMatchObject([{ type: 'function_call', name: 'weather', call_id: call.call_id }])
    talk.realtime.send({
      type: 'conversation.item.create',
      item: { type: 'function_call_output', call_id: call.call_id, output: 'sunny' },
    })
    talk.realtime.send({ type: 'response.create' })
    const done = await talk.next('response.done')
    expect(done.response.status).toBe('completed')
    expect(server.engine.requests.at(-1)!.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool'])
  })
})
