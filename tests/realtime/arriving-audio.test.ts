/** A turn's audio goes to the engine while it is being said, and is what the turn has in the end. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type AudioMedium, EngineError } from '../../src/contract/index.ts'
import type { FakeArrival } from '../../testing/fake-engine.ts'
import { jpeg } from '../support/media.ts'
import { until } from '../../testing/until.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'
import { oneSentence, pcmBase64, RealtimeClient, silence, twoSentences } from './client.ts'

let server: TestServer
let before = 0

beforeAll(async () => {
  server = await startTestServer({ realtimeIdle: 0 }, fakeEngine({ tokenDelayMs: 2 }))
})
beforeEach(() => {
  before = server.engine.arrivals.length
})
afterAll(() => server.stop(0))

const arrivals = (): readonly FakeArrival[] => server.engine.arrivals.slice(before)

async function open(session: object, { url } = server): Promise<RealtimeClient> {
  const client = await RealtimeClient.open(`${url}/api-ws/v1/realtime?model=qwen3-omni-flash-realtime`)
  client.send({ type: 'session.update', session: { input_audio_transcription: null, ...session } })
  await client.next('session.updated')
  return client
}

/** The audio of the last request. */
function asked(): AudioMedium {
  const parts = server.engine.requests.at(-1)!.messages.at(-1)!.content
  const last = parts.at(-1)!
  if (last.type !== 'audio') throw new Error('the last request has no audio at its end')
  return last.audio
}

describe('a turn', () => {
  it('found by voice activity is sent from its beginning to its end', async () => {
    await using client = await open({ instructions: 'Be brief.' })
    // As a microphone sends it: piece after piece, each handled before the next comes.
    const audio = Float32Array.of(...oneSentence, ...silence(1))
    for (let at = 0, pieces = 1; at < audio.length; at += 1600, pieces += 1) {
      client.speak(audio.subarray(at, at + 1600))
      client.send({ type: 'conversation.item.retrieve', item_id: 'none' })
      await until(() => client.types.filter((type) => type === 'error').length === pieces)
    }
    await client.next('response.done')
    expect(arrivals().length).toBe(1)
    const [arrival] = arrivals()
    const { contentKey, facts } = asked()
    expect(arrival).toMatchObject({ samples: facts.samples, contentKey, prefills: true })
    // What it was opened with is what is asked in the end, but for the audio.
    const { messages, speech } = server.engine.requests.at(-1)!
    expect(arrival!.request.messages.slice(0, -1)).toEqual(messages.slice(0, -1))
    expect(arrival!.request.speech).toEqual(speech)
    expect(arrival!.request.messages.at(-1)!.content.map(({ type }) => type)).toEqual(['audio'])
  })

  it('may end in silence before it is known that it does, and goes on where it did not', async () => {
    await using client = await open({ turn_detection: { type: 'server_vad', silence_duration_ms: 1500 } })
    const audio = Float32Array.from({ length: twoSentences.length + 32_000 }, (_, at) => {
      return (twoSentences[at] ?? 0) + 0.001 * Math.sin(at / 3)
    })
    for (let at = 0; at < audio.length; at += 1600) {
      client.speak(audio.subarray(at, at + 1600))
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const started = (await client.next('input_audio_buffer.speech_started')).audio_start_ms as number
    const stopped = (await client.next('input_audio_buffer.speech_stopped')).audio_end_ms as number
    await client.next('response.done')
    const [arrival] = arrivals()
    const medium = asked()
    const { contentKey, facts } = medium
    expect(arrival).toMatchObject({ samples: facts.samples, contentKey })
    expect(arrival!.endings.length).toBeGreaterThan(1)
    expect(arrival!.endings.at(-1)).toBe(contentKey)
    // The model is given all of it up to where it stopped, the last pause but its beginning as silence.
    expect(facts.samples / 16).toBeCloseTo(stopped - started, -1)
    const { samples } = await medium.decode(new AbortController().signal)
    const spoken = samples.findLastIndex((sample) => sample !== 0)
    expect(samples.length - spoken).toBeGreaterThan(1.25 * 16_000)
    expect(samples.length - spoken).toBeLessThan(1.35 * 16_000)
    // The pause in the middle is there as it was.
    expect(samples.subarray(0, spoken).some((_, at, all) => all.subarray(at, at + 800).every((one) => one === 0))).toBe(
      false,
    )
  })

  it('that ends in something loud that is not speech has it as it was', async () => {
    await using client = await open({ turn_detection: { type: 'server_vad', silence_duration_ms: 1500 } })
    const beep = silence(0.2).map((_, at) => 0.5 * Math.sin(at / 4))
    const audio = Float32Array.of(...oneSentence, ...silence(0.4), ...beep, ...silence(2))
    for (let at = 0; at < audio.length; at += 1600) {
      client.speak(audio.subarray(at, at + 1600))
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await client.next('response.done')
    const medium = asked()
    const { contentKey, facts } = medium
    expect(arrivals()[0]).toMatchObject({ samples: facts.samples, contentKey })
    const { samples } = await medium.decode(new AbortController().signal)
    expect(samples.slice(-1.5 * 16_000).some((sample) => Math.abs(sample) > 0.4)).toBe(true)
  })

  it('by hand is sent from its first sample; the next turn lets go of it', async () => {
    await using client = await open({ turn_detection: null })
    for (const turn of [0, 1]) {
      client.speak(oneSentence)
      client.send({ type: 'input_audio_buffer.commit' })
      client.send({ type: 'response.create' })
      await client.next('response.done')
      expect(arrivals()[turn]).toMatchObject({ samples: 44_000, contentKey: asked().contentKey, dropped: false })
    }
    expect(arrivals()[0]!.dropped).toBe(true)
    const { messages } = server.engine.requests.at(-1)!
    expect(messages.filter(({ role }) => role === 'user').length).toBe(2)
    expect(arrivals()[1]!.request.messages.slice(0, -1)).toEqual(messages.slice(0, -1))
  })

  it('that comes all at once is opened with its end', async () => {
    await using client = await open({})
    client.send({ type: 'input_audio_buffer.append', audio: pcmBase64(twoSentences) })
    client.speak(silence(1))
    await client.next('response.done')
    for (const arrival of arrivals()) expect(arrival.contentKey === undefined).toBe(arrival.dropped)
  })

  it('is given up when it is cleared, and when the session ends', async () => {
    const client = await open({ turn_detection: null })
    client.speak(oneSentence)
    client.send({ type: 'input_audio_buffer.clear' })
    await client.next('input_audio_buffer.cleared')
    expect(arrivals()).toMatchObject([{ contentKey: undefined, dropped: true }])
    client.speak(oneSentence)
    client.send({ type: 'conversation.item.retrieve', item_id: 'none' })
    await client.next('error')
    expect(arrivals().at(-1)).toMatchObject({ samples: 44_000, dropped: false })
    await client[Symbol.asyncDispose]()
    await until(() => arrivals().every(({ dropped }) => dropped))
  })

  it('with images, or begun under a reply, is not prefilled', async () => {
    await using client = await open({ turn_detection: null })
    client.speak(silence(0.1))
    client.send({ type: 'input_image_buffer.append', image: (await jpeg(64, 48)).toString('base64') })
    client.send({ type: 'input_audio_buffer.commit' })
    client.speak(oneSentence)
    client.send({ type: 'input_audio_buffer.commit' })
    await client.next('input_audio_buffer.committed')
    await client.next('input_audio_buffer.committed')
    expect(arrivals().map(({ prefills }) => prefills)).toEqual([true, false])
    client.send({
      type: 'conversation.item.create',
      item: { role: 'user', content: [{ type: 'input_text', text: 'word '.repeat(10_000) }] },
    })
    client.send({ type: 'response.create' })
    await client.next('response.created')
    client.speak(oneSentence)
    client.send({ type: 'response.cancel' })
    await client.next('response.done')
    expect(arrivals().at(-1)!.prefills).toBe(false)
  })

  it('goes with its request where the engine takes no audio before, or fails to', async () => {
    const without = fakeEngine()
    delete without.openAudio
    const failing = fakeEngine()
    failing.openAudio = () => {
      throw new EngineError('engine_crashed', 'gone')
    }
    for (const one of [without, failing]) {
      await using other = await startTestServer({ realtimeIdle: 0 }, one)
      await using client = await open({ turn_detection: null }, other)
      client.speak(oneSentence)
      client.send({ type: 'input_audio_buffer.commit' })
      client.send({ type: 'response.create' })
      expect((await client.next('response.done')).response.status).toBe('completed')
      expect(one.arrivals).toEqual([])
    }
  })
})
