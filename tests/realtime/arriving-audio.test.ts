/** A turn's audio is sent to the engine while it is spoken, and equals the audio of the turn's request. */
import { beforeEach, describe, expect, it } from 'vitest'
import { type AudioMedium, EngineError } from '../../src/contract/index.ts'
import type { FakeArrival } from '../../testing/fake-engine.ts'
import { jpeg } from '../support/media.ts'
import { until } from '../../testing/until.ts'
import { fakeEngine, startTestServer } from '../support/server.ts'
import { oneSentence, pcmBase64, RealtimeClient, silence, twoSentences } from './client.ts'
import { startForFile } from './fake-sessions.ts'

const server = await startForFile({ realtimeIdle: 0 }, { tokenDelayMs: 2 })
let before = 0

beforeEach(() => {
  before = server.engine.arrivals.length
})

const arrivals = (): readonly FakeArrival[] => server.engine.arrivals.slice(before)

async function open(session: object, at: { readonly url: string } = server): Promise<RealtimeClient> {
  const client = await RealtimeClient.dashscope(at)
  await client.update({ input_audio_transcription: null, ...session })
  return client
}

/** Speaks piece after piece, as a microphone does; each is handled before the next. */
async function stream(client: RealtimeClient, samples: Float32Array): Promise<void> {
  const errors = (): number => client.types.filter((type) => type === 'error').length
  const earlier = errors()
  for (let at = 0, pieces = 1; at < samples.length; at += 1600, pieces += 1) {
    client.speak(samples.subarray(at, at + 1600))
    // Answered with an error, in the order of the events.
    client.send({ type: 'conversation.item.retrieve', item_id: 'none' })
    await until(() => errors() === earlier + pieces)
  }
}

/** The audio of the last request. */
function asked(): AudioMedium {
  const parts = server.engine.requests.at(-1)!.messages.at(-1)!.content
  const last = parts.at(-1)!
  if (last.type !== 'audio') throw new Error('the last request has no audio at its end')
  return last.audio
}

describe('a turn', () => {
  it('found by voice activity is sent from beginning to end', async () => {
    await using client = await open({ instructions: 'Be brief.' })
    await stream(client, Float32Array.of(...oneSentence, ...silence(1)))
    await client.next('response.done')
    expect(arrivals().length).toBe(1)
    const [arrival] = arrivals()
    const { contentKey, facts } = asked()
    expect(arrival).toMatchObject({ samples: facts.samples, contentKey, prefills: true })
    // It is opened with the same request, except for the audio.
    const { messages, speech } = server.engine.requests.at(-1)!
    expect(arrival!.request.messages.slice(0, -1)).toEqual(messages.slice(0, -1))
    expect(arrival!.request.speech).toEqual(speech)
    expect(arrival!.request.messages.at(-1)!.content.map(({ type }) => type)).toEqual(['audio'])
  })

  it('announces its end in a pause, and continues after a pause that does not end it', async () => {
    await using client = await open({ turn_detection: { type: 'server_vad', silence_duration_ms: 1500 } })
    const audio = Float32Array.from({ length: twoSentences.length + 32_000 }, (_, at) => {
      return (twoSentences[at] ?? 0) + 0.001 * Math.sin(at / 3)
    })
    await stream(client, audio)
    const started = (await client.next('input_audio_buffer.speech_started')).audio_start_ms as number
    const stopped = (await client.next('input_audio_buffer.speech_stopped')).audio_end_ms as number
    await client.next('response.done')
    const [arrival] = arrivals()
    const medium = asked()
    const { contentKey, facts } = medium
    expect(arrival).toMatchObject({ samples: facts.samples, contentKey })
    expect(arrival!.endings.length).toBeGreaterThan(1)
    expect(arrival!.endings.at(-1)).toBe(contentKey)
    // The model gets the audio up to its end; the last pause, except its beginning, is silence.
    expect(facts.samples / 16).toBeCloseTo(stopped - started, -1)
    const { samples } = await medium.decode(new AbortController().signal)
    const spoken = samples.findLastIndex((sample) => sample !== 0)
    expect(samples.length - spoken).toBeGreaterThan(1.25 * 16_000)
    expect(samples.length - spoken).toBeLessThan(1.35 * 16_000)
    // The pause in the middle is unchanged.
    expect(samples.subarray(0, spoken).some((_, at, all) => all.subarray(at, at + 800).every((one) => one === 0))).toBe(
      false,
    )
  })

  it('keeps a loud end that is not speech', async () => {
    await using client = await open({ turn_detection: { type: 'server_vad', silence_duration_ms: 1500 } })
    const beep = silence(0.2).map((_, at) => 0.5 * Math.sin(at / 4))
    const audio = Float32Array.of(...oneSentence, ...silence(0.4), ...beep, ...silence(2))
    await stream(client, audio)
    await client.next('response.done')
    const medium = asked()
    const { contentKey, facts } = medium
    expect(arrivals()[0]).toMatchObject({ samples: facts.samples, contentKey })
    const { samples } = await medium.decode(new AbortController().signal)
    expect(samples.slice(-1.5 * 16_000).some((sample) => Math.abs(sample) > 0.4)).toBe(true)
  })

  it('ended by hand is sent from its first sample, and dropped at the next turn', async () => {
    await using client = await open({ turn_detection: null })
    for (const turn of [0, 1]) {
      client.say(oneSentence)
      await client.reply()
      expect(arrivals()[turn]).toMatchObject({ samples: 44_000, contentKey: asked().contentKey, dropped: false })
    }
    expect(arrivals()[0]!.dropped).toBe(true)
    const { messages } = server.engine.requests.at(-1)!
    expect(messages.filter(({ role }) => role === 'user').length).toBe(2)
    expect(arrivals()[1]!.request.messages.slice(0, -1)).toEqual(messages.slice(0, -1))
  })

  it('that arrives in one piece is opened together with its end', async () => {
    await using client = await open({})
    client.send({ type: 'input_audio_buffer.append', audio: pcmBase64(twoSentences) })
    client.speak(silence(1))
    await client.next('response.done')
    for (const arrival of arrivals()) expect(arrival.contentKey === undefined).toBe(arrival.dropped)
  })

  it('is dropped when it is cleared, and when the session ends', async () => {
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

  it('with images, or begun during a reply, is not prefilled', async () => {
    await using client = await open({ turn_detection: null })
    client.speak(silence(0.1))
    client.send({ type: 'input_image_buffer.append', image: (await jpeg(64, 48)).toString('base64') })
    client.send({ type: 'input_audio_buffer.commit' })
    client.say(oneSentence)
    await client.next('input_audio_buffer.committed')
    await client.next('input_audio_buffer.committed')
    expect(arrivals().map(({ prefills }) => prefills)).toEqual([true, false])
    client.write('word '.repeat(10_000))
    client.send({ type: 'response.create' })
    await client.next('response.created')
    client.speak(oneSentence)
    client.send({ type: 'response.cancel' })
    await client.next('response.done')
    expect(arrivals().at(-1)!.prefills).toBe(false)
  })

  it('is sent with its request where the engine takes no earlier audio, or fails', async () => {
    const without = fakeEngine()
    delete without.openAudio
    const failing = fakeEngine()
    failing.openAudio = () => {
      throw new EngineError('engine_crashed', 'gone')
    }
    for (const one of [without, failing]) {
      await using other = await startTestServer({ realtimeIdle: 0 }, one)
      await using client = await open({ turn_detection: null }, other)
      client.say(oneSentence)
      expect((await client.reply())['status']).toBe('completed')
      expect(one.arrivals).toEqual([])
    }
  })
})
