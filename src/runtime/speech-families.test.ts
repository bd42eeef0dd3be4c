/** Each family's speech through the runtime: its input and its output. */

import { afterEach, describe, expect, it } from 'vitest'
import { decodedAudio, decodedImage } from '../../testing/decoded-media.ts'
import { answer, fakeIds } from '../../testing/fake-model.ts'
import { FakeRuntimes } from '../../testing/fake-runtime.ts'
import { windowedSpeech } from '../../testing/fake-windowed.ts'
import { makeRequest, readReply } from '../../testing/requests.ts'
import type { RequestMetrics } from './request-metrics.ts'

const runtimes = new FakeRuntimes()
const start = runtimes.start.bind(runtimes)

afterEach(async () => {
  for (const alive of await runtimes.close()) expect(alive).toEqual({ sequences: 0, streams: 0 })
})

const bytes = (text: string): number[] => [...new TextEncoder().encode(text)]

describe("Qwen3-Omni's speech", () => {
  const { ttsBegin, ttsEnd, ttsPad, imStart, assistant } = fakeIds
  const opening = (first: number): number[] => [imStart, assistant, 10, ttsPad, ttsPad, ttsPad, ttsPad, ttsBegin, first]

  it('reads user turns, the opening, then a token a frame, an end row and pads', async () => {
    const { runtime, model } = start({ script: answer('abcd') })
    const reply = await readReply(runtime, makeRequest({ text: 'q', voice: 'Ethan' }))
    const user = [imStart, fakeIds.user, 10, ...bytes('q'), fakeIds.imEnd, 10]
    expect(model.talkerRows[0]!.slice(0, 20)).toEqual([...user, ...opening(97), ...bytes('bcd'), ttsEnd, ttsPad])
    expect(model.talkerPositions[0]).toEqual(model.talkerRows[0]!.map((_, row) => row))
    // 3 trailing texts, the end row, two rows more; the last one's code is the end.
    expect(reply.usage.audioTokens).toBe(6)
    expect(reply.pcm.length).toBe(6 * 1920)
  })

  it('reads media of user turns as hidden states, also across chunks', async () => {
    const { runtime, model } = start({ script: answer('ab') }, { prefillTokens: 5 })
    const pcm = { sampleRate: 16_000, samples: new Float32Array(16_000 * 3) }
    const image = { width: 2, height: 2, data: new Uint8Array(12) }
    const reply = await readReply(
      runtime,
      makeRequest({
        voice: 'Ethan',
        messages: [
          {
            role: 'user',
            content: [
              { type: 'audio', audio: decodedAudio(pcm) },
              { type: 'text', text: 'q' },
              { type: 'image', image: decodedImage(image) },
            ],
          },
        ],
      }),
    )
    expect(reply.usage.prompt).toMatchObject({ audio: 3, image: 4 })
    const hidden = (row: number): number => 1000 + row
    expect(model.talkerRows[0]!.slice(0, 22)).toEqual([
      imStart,
      fakeIds.user,
      10,
      ...[3, 4, 5].map(hidden),
      ...bytes('q'),
      ...[7, 8, 9, 10].map(hidden),
      fakeIds.imEnd,
      10,
      ...opening(97),
    ])
  })

  it('never speaks reasoning or the separator after it', async () => {
    const { runtime, model } = start({
      script: answer([...bytes('secret'), fakeIds.thinkClose, ...bytes('\n\nyes')]),
    })
    const reply = await readReply(runtime, makeRequest({ text: 'q', thinking: {}, voice: 'Ethan' }))
    expect(reply.text).toBe('yes')
    expect(model.talkerRows[0]!.slice(6, 18)).toEqual([...opening(bytes('y')[0]!), ...bytes('es'), ttsEnd])
  })

  it('does not speak the token a limit cuts at, nor a stop string', async () => {
    const { runtime, model } = start({ script: answer('abcdef') })
    await readReply(runtime, makeRequest({ text: 'q', maxTokens: 3, voice: 'Ethan' }))
    await readReply(runtime, makeRequest({ text: 'q', stop: ['cd'], voice: 'Ethan' }))
    for (const rows of model.talkerRows) expect(rows.slice(6, 17)).toEqual([...opening(97), 98, ttsEnd])
  })

  it('gives up after the most frames', async () => {
    const { runtime } = start({ script: answer('abc'), tailFrames: 10_000, speechSettings: { maxFrames: 40 } })
    const reply = await readReply(runtime, makeRequest({ voice: 'Ethan' }))
    expect(reply.usage.audioTokens).toBe(39)
    expect(reply.pcm.length).toBe(39 * 1920)
  })

  it('bounds speech by its text when the talker never ends', async () => {
    const speechSettings = { allowance: { frames: 20, perToken: 5 } }
    const { runtime } = start({ script: answer('abc'), tailFrames: 10_000, speechSettings })
    const reply = await readReply(runtime, makeRequest({ voice: 'Ethan' }))
    expect(reply.usage.audioTokens).toBe(20 + 3 * 5 - 1)
    expect(reply.reason).toBe('stop')
    // Text still being generated does not count yet, so a long reply is never cut short.
    const long = start({ script: answer('x'.repeat(60)), speechSettings })
    const whole = await readReply(long.runtime, makeRequest({ voice: 'Ethan' }))
    expect(whole.usage.audioTokens).toBeGreaterThan(60)
  })

  it('counts frames', async () => {
    const reports: RequestMetrics[] = []
    const { runtime } = start({ script: answer('abcd') }, { onMetrics: (metrics) => reports.push(metrics) })
    await readReply(runtime, makeRequest({ voice: 'Ethan' }))
    expect(reports[0]).toMatchObject({ textTokens: 4, audioFrames: 6 })
  })
})

describe('speech from hidden states of every token', () => {
  const { ttsBegin, ttsEnd, ttsPad, imStart, imEnd, user, assistant } = fakeIds
  const prompt = [imStart, user, 10, ...bytes('q'), imEnd, 10, imStart, assistant, 10]
  /** As the fake thinker makes them. */
  const hidden = (row: number): number => 1000 + row
  const rowsOf = (from: number, count: number): number[] => Array.from({ length: count }, (_, row) => from + row)

  it.each([256, 4])(
    'reads id and hidden state of prompt and reply, prompts %i tokens a step',
    async (prefillTokens) => {
      const { runtime, model } = start({ speaksBy: windowedSpeech, script: answer('abcdefghijkl') }, { prefillTokens })
      const reply = await readReply(runtime, makeRequest({ text: 'q', voice: 'Ethan' }))
      const text = bytes('abcdefghijkl')
      const read = [...prompt, ttsBegin, ...text, ttsEnd, ttsPad]
      expect(model.talkerRows[0]!.slice(0, read.length)).toEqual(read)
      const states = [
        ...rowsOf(0, prompt.length).map(hidden),
        -1,
        ...rowsOf(prompt.length, text.length).map(hidden),
        -1,
        -1,
      ]
      expect(model.talkerPositions[0]!.slice(0, states.length)).toEqual(states)
      // Every row once, the reply's own included; the end token is never run.
      expect(model.hiddenRows[0]).toEqual(rowsOf(0, prompt.length + text.length))
      const frames = reply.pcm.length / model.samplesPerFrame
      // A row for each but the first, which opens: the rest of the text, the end row, three more.
      expect(frames).toBe(text.length - 1 + 1 + 3)
      expect(reply.usage.audioTokens).toBe(8)
    },
  )

  it('asks for no hidden states where nothing is spoken', async () => {
    const { runtime, model } = start({ speaksBy: windowedSpeech, script: answer('abc') })
    await readReply(runtime, makeRequest({ text: 'q' }))
    expect(model.hiddenRows).toEqual([[]])
  })

  it('begins with eight tokens in hand, or with all there are', async () => {
    const { runtime, model } = start({ speaksBy: windowedSpeech, script: answer('abcdefghijklmnopqrstuvwxyz') })
    let written = 0
    let atStart = 0
    for await (const event of runtime.generate(makeRequest({ voice: 'Ethan' }), new AbortController().signal)) {
      if (event.type === 'text-delta') written += 1
      if (atStart === 0 && model.talkerBatches.length > 0) atStart = written
    }
    expect(atStart).toBeGreaterThanOrEqual(8)
    expect(atStart).toBeLessThan(12)
    const short = start({ speaksBy: windowedSpeech, script: answer('ab') })
    expect((await readReply(short.runtime, makeRequest({ voice: 'Ethan' }))).pcm.length).toBe(480 * (1 + 1 + 3))
  })

  it('does not speak the token a limit cuts at, and speaks text cut by a stop string', async () => {
    const { runtime, model } = start({ speaksBy: windowedSpeech, script: answer('abcdef') })
    await readReply(runtime, makeRequest({ text: 'q', maxTokens: 3, voice: 'Ethan' }))
    await readReply(runtime, makeRequest({ text: 'q', stop: ['cd'], voice: 'Ethan' }))
    for (const rows of model.talkerRows)
      expect(rows.slice(prompt.length)).toEqual([ttsBegin, 97, 98, ttsEnd, ...rows.slice(prompt.length + 4)])
  })

  it('never speaks reasoning, and finds the hidden states of what follows it', async () => {
    const script = answer([...bytes('secret'), fakeIds.thinkClose, ...bytes('\n\nyes')])
    const { runtime, model } = start({ speaksBy: windowedSpeech, script })
    await readReply(runtime, makeRequest({ text: 'q', thinking: {}, voice: 'Ethan' }))
    const length = prompt.length + 1
    expect(model.talkerRows[0]!.slice(length, length + 5)).toEqual([ttsBegin, ...bytes('yes'), ttsEnd])
    const first = length + 'secret'.length + 1 + 2
    expect(model.talkerPositions[0]!.slice(length + 1, length + 4)).toEqual(rowsOf(first, 3).map(hidden))
  })

  it('conditions the vocoder on voice and seed', async () => {
    const { runtime } = start({ speaksBy: windowedSpeech, script: answer('abc') })
    const sampling = makeRequest().sampling
    const say = async (voice: string, seed: number) =>
      (await readReply(runtime, makeRequest({ text: 'q', voice, sampling: { ...sampling, seed } }))).pcm
    const first = await say('Ethan', 1)
    expect(await say('Ethan', 1)).toEqual(first)
    expect(await say('Ethan', 2)).not.toEqual(first)
    expect(await say('Chelsie', 1)).not.toEqual(first)
  })
})
