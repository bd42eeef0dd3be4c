/**
 * Earlier spoken turns as text, where the checkpoint requires it (`history_audio`): over the fake engine, and with
 * nano.
 */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { GenerationRequest } from '../../src/contract/index.ts'
import { encodeWav } from '../../src/media/index.ts'
import type { TestServer } from '../support/server.ts'
import { serve, type ServeProcess } from '../support/serve.ts'
import { createDecodingLoader } from '../../testing/decode-at-once.ts'
import type { FakeEngineOptions } from '../../testing/fake-engine.ts'
import { until } from '../../testing/until.ts'
import { oneSentence, RealtimeClient } from './client.ts'
import { start } from './fake-sessions.ts'

const byHand = { turn_detection: null, modalities: ['text'] }

describe('a checkpoint that takes one recording at a time', () => {
  async function open(options: FakeEngineOptions): Promise<{ server: TestServer; client: RealtimeClient }> {
    const server = await start({}, options)
    return { server, client: await RealtimeClient.dashscope(server, 'model=qwen3-omni-flash') }
  }

  async function say(client: RealtimeClient): Promise<void> {
    client.say(oneSentence)
    await client.reply()
  }

  const isTranscription = ({ messages }: GenerationRequest): boolean =>
    messages.at(-1)!.content.some((part) => part.type === 'text' && part.text === 'Transcribe the audio.')
  const kinds = ({ messages }: GenerationRequest): string[] =>
    messages.filter(({ role }) => role === 'user').map(({ content }) => content.map(({ type }) => type).join('+'))

  it('gets transcripts of earlier turns, also where the client wants none', async () => {
    const { server, client } = await open({ historyAudio: 'transcript', reply: () => ({ text: 'words' }) })
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

  it('gets a few turns before a spoken one, and all before a written one', async () => {
    const { server, client } = await open({ spokenHistoryTurns: 2 })
    client.send({ type: 'session.update', session: { ...byHand, input_audio_transcription: null } })
    for (const text of ['one', 'two', 'three']) client.write(text)
    client.write('Be kind.', { role: 'system' })
    await say(client)
    expect(server.engine.requests[0]!.messages.map(({ role }) => role)).toEqual(['user', 'system', 'user'])
    expect(kinds(server.engine.requests[0]!)).toEqual(['text', 'audio'])
    client.write('four')
    await client.reply()
    expect(kinds(server.engine.requests[1]!)).toEqual(['text', 'text', 'text', 'audio', 'text'])
    await client[Symbol.asyncDispose]()
  })

  it('does not wait for transcripts: a reply interrupts one, which is made afterwards', async () => {
    let transcriptions = 0
    const { server, client } = await open({
      historyAudio: 'transcript',
      tokenDelayMs: 1,
      // The first transcription would take a minute.
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

  it('is not assumed by default: earlier turns stay audio', async () => {
    const { server, client } = await open({})
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
    await using client = await RealtimeClient.dashscope(server)
    client.send({ type: 'session.update', session: { turn_detection: null, seed: 7 } })
    for (const [index, answer] of wanted.entries()) {
      client.say(await decoded(new URL(`../../testdata/talk/question-${index}.ogg`, import.meta.url)))
      const response = await client.reply()
      expect(response['output'][0].content[0].transcript).toMatch(answer)
      const audio = client.events.flatMap((event) =>
        event.type === 'response.audio.delta' && event['response_id'] === response['id']
          ? [Buffer.from(event['delta'] as string, 'base64')]
          : [],
      )
      expect(await recognised(Buffer.concat(audio))).toMatch(answer)
      await client.next('conversation.item.input_audio_transcription.completed')
    }
  })
})
