/**
 * Earlier spoken turns as words, where the checkpoint asks for it (`history_audio`): over the fake engine, and with
 * nano.
 */
import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { GenerationRequest } from '../../src/contract/index.ts'
import { encodeWav } from '../../src/media/index.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'
import { serve, type ServeProcess } from '../support/serve.ts'
import { createDecodingLoader } from '../../testing/decode-at-once.ts'
import type { FakeEngineOptions } from '../../testing/fake-engine.ts'
import { until } from '../../testing/until.ts'
import { oneSentence, RealtimeClient } from './client.ts'

const byHand = { turn_detection: null, modalities: ['text'] }

describe('a checkpoint that takes one recording at a time', () => {
  const servers: TestServer[] = []
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.stop(0)
  })

  async function start(options: FakeEngineOptions): Promise<{ server: TestServer; client: RealtimeClient }> {
    const server = await startTestServer({}, fakeEngine(options))
    servers.push(server)
    return { server, client: await RealtimeClient.open(`${server.url}/api-ws/v1/realtime?model=qwen3-omni-flash`) }
  }

  async function say(client: RealtimeClient): Promise<void> {
    client.speak(oneSentence)
    client.send({ type: 'input_audio_buffer.commit' })
    client.send({ type: 'response.create' })
    await client.next('response.done')
  }

  const isTranscription = ({ messages }: GenerationRequest): boolean =>
    messages.at(-1)!.content.some((part) => part.type === 'text' && part.text === 'Transcribe the audio.')
  const kinds = ({ messages }: GenerationRequest): string[] =>
    messages.filter(({ role }) => role === 'user').map(({ content }) => content.map(({ type }) => type).join('+'))

  it('is given the words of the turns before, also where the client wants no transcripts', async () => {
    const { server, client } = await start({ historyAudio: 'transcript', reply: () => ({ text: 'words' }) })
    client.send({ type: 'session.update', session: { ...byHand, input_audio_transcription: null } })
    for (let turn = 1; turn <= 3; turn += 1) {
      await say(client)
      await until(() => server.engine.requests.length === 2 * turn && server.engine.status().active === 0)
    }
    const replies = server.engine.requests.filter((request) => !isTranscription(request))
    expect(replies.map(kinds)).toEqual([['audio'], ['text', 'audio'], ['text', 'text', 'audio']])
    expect(replies[2]!.messages[0]).toMatchObject({ role: 'user', content: [{ type: 'text', text: 'words' }] })
    expect(client.types.filter((type) => type.includes('transcription'))).toEqual([])
    await client[Symbol.asyncDispose]()
  })

  it('is given few turns before a spoken one, and all before a written one', async () => {
    const { server, client } = await start({ spokenHistoryTurns: 2 })
    const write = (role: string, text: string): void =>
      client.send({ type: 'conversation.item.create', item: { role, content: [{ type: 'input_text', text }] } })
    client.send({ type: 'session.update', session: { ...byHand, input_audio_transcription: null } })
    for (const text of ['one', 'two', 'three']) write('user', text)
    write('system', 'Be kind.')
    await say(client)
    expect(server.engine.requests[0]!.messages.map(({ role }) => role)).toEqual(['user', 'system', 'user'])
    expect(kinds(server.engine.requests[0]!)).toEqual(['text', 'audio'])
    write('user', 'four')
    client.send({ type: 'response.create' })
    await client.next('response.done')
    expect(kinds(server.engine.requests[1]!)).toEqual(['text', 'text', 'text', 'audio', 'text'])
    await client[Symbol.asyncDispose]()
  })

  it('never waits for them: one that is being made gives way to a reply, and is made after it', async () => {
    let transcriptions = 0
    const { server, client } = await start({
      historyAudio: 'transcript',
      tokenDelayMs: 1,
      // The first would take a minute.
      reply: (request) => {
        if (isTranscription(request)) transcriptions += 1
        return { text: 'word '.repeat(isTranscription(request) && transcriptions === 1 ? 60_000 : 3) }
      },
    })
    client.send({ type: 'session.update', session: byHand })
    await say(client)
    await until(() => server.engine.requests.some(isTranscription))
    await say(client)
    expect(server.engine.aborted).toHaveLength(1)
    const [, , second] = server.engine.requests
    expect(kinds(second!)).toEqual(['audio', 'audio'])
    for (let turn = 0; turn < 2; turn += 1) await client.next('conversation.item.input_audio_transcription.completed')
    await say(client)
    expect(kinds(server.engine.requests.findLast((request) => !isTranscription(request))!)).toEqual([
      'text',
      'text',
      'audio',
    ])
    await client[Symbol.asyncDispose]()
  })

  it('others keep hearing what was said', async () => {
    const { server, client } = await start({})
    client.send({ type: 'session.update', session: byHand })
    for (let turn = 0; turn < 2; turn += 1) {
      await say(client)
      await client.next('conversation.item.input_audio_transcription.completed')
    }
    expect(kinds(server.engine.requests.findLast((request) => !isTranscription(request))!)).toEqual(['audio', 'audio'])
    await client[Symbol.asyncDispose]()
  })
})

describe('nano', () => {
  let server: ServeProcess
  beforeAll(async () => {
    server = await serve()
  })
  afterAll(() => server[Symbol.asyncDispose]())

  async function decoded(file: URL): Promise<Float32Array> {
    await using loader = createDecodingLoader()
    const { pcm } = await loader.audio(`data:;base64,${readFileSync(file).toString('base64')}`)
    return pcm.samples
  }

  async function recognised(pcm: Buffer): Promise<string> {
    const samples = new Int16Array(pcm.buffer, pcm.byteOffset, pcm.length / 2)
    const form = new FormData()
    form.set('file', new Blob([new Uint8Array(encodeWav(samples, 24_000))]), 'reply.wav')
    form.set('model', 'nano')
    const response = await fetch(`${server.url}/v1/audio/transcriptions`, { method: 'POST', body: form })
    return ((await response.json()) as { text: string }).text
  }

  it('answers five spoken questions of one session, each to the point', async () => {
    // espeak-ng says: What colour is grass? How are you? Can you sing? Thank you. Good night.
    const wanted = [/green/i, /fine/, /sing/, /welcome/, /night/]
    await using client = await RealtimeClient.open(`${server.url}/api-ws/v1/realtime?model=qwen3-omni-flash-realtime`)
    client.send({ type: 'session.update', session: { turn_detection: null, seed: 7 } })
    for (const [index, answer] of wanted.entries()) {
      client.speak(await decoded(new URL(`../../testdata/talk/question-${index}.ogg`, import.meta.url)))
      client.send({ type: 'input_audio_buffer.commit' })
      client.send({ type: 'response.create' })
      const { response } = await client.next('response.done')
      expect(response.output[0].content[0].transcript).toMatch(answer)
      const audio = client.events.flatMap((event) =>
        event.type === 'response.audio.delta' && event['response_id'] === response.id
          ? [Buffer.from(event['delta'] as string, 'base64')]
          : [],
      )
      expect(await recognised(Buffer.concat(audio))).toMatch(answer)
      await client.next('conversation.item.input_audio_transcription.completed')
    }
  })
})
