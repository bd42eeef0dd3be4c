/** A real (tiny, random) checkpoint in its process under load: slow, long and large requests delay no other. */

import { setImmediate } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { decodedAudio, decodedVideo } from '../../../testing/decoded-media.ts'
import { tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { makeRequest, readReply } from '../../../testing/requests.ts'
import { until } from '../../../testing/until.ts'
import type { EngineEvent, GenerationMessage, GenerationRequest } from '../../contract/index.ts'
import { EngineProcess } from './engine-process.ts'
import { createLocalEngine, type LocalEngine } from './local-engine.ts'
import { testDevice } from '../../tensor/test-device.ts'

const original: EngineProcess['send'] = Reflect.get(EngineProcess.prototype, 'send')

describe('the local engine with much to do', () => {
  let engine: LocalEngine
  beforeAll(async () => {
    engine = await createLocalEngine({
      checkpoint: tinyCheckpoint('tiny-mixed'),
      device: testDevice,
      threads: 1,
      maxConcurrent: 6,
      maxSpeechFrames: 200,
    })
  })
  afterAll(() => engine.close())

  const request = (overrides: Parameters<typeof makeRequest>[0]): GenerationRequest =>
    makeRequest({ model: engine.id, ...overrides })
  const nativeBytes = async (): Promise<number> => (await engine.inspect()).nativeBytes

  it('goes on with three replies beside a reader who stops and a prompt of 3,000 tokens', async () => {
    const leaving = new AbortController()
    onTestFinished(() => leaving.abort())
    const slow = engine
      .generate(request({ text: 'Slowly.', maxTokens: 600, voice: 'Ryan' }), leaving.signal)
      [Symbol.asyncIterator]()
    await slow.next()
    const long = request({ text: 'y '.repeat(1450), maxTokens: 1 })
    const counted = await engine.countPrompt(long)
    expect(counted.total).toBeGreaterThan(2900)
    // Tokens of each reply, and whether the long prompt waits for its prefill meanwhile.
    const arrived = { before: [0, 0, 0], meanwhile: [0, 0, 0] }
    const progress: { phase: 'before' | 'meanwhile' | 'after' } = { phase: 'before' }
    // Each writes reply after reply until the long prompt has been answered.
    const write = async (writer: number): Promise<void> => {
      while (progress.phase !== 'after')
        for await (const event of engine.generate(request({ text: `${writer}.`, maxTokens: 250 }), leaving.signal)) {
          const { phase }: { phase: string } = progress
          if (event.type === 'start' || phase === 'after') continue
          const tokens = arrived[progress.phase]
          tokens[writer] = (tokens[writer] ?? 0) + 1
        }
    }
    const writing = Promise.all([0, 1, 2].map(write))
    writing.catch(() => {})
    await until(() => arrived.before.every((tokens) => tokens > 4))
    progress.phase = 'meanwhile'
    await readReply(engine, long)
    progress.phase = 'after'
    expect(Math.min(...arrived.meanwhile)).toBeGreaterThan(2)
    await writing
    const rest: EngineEvent['type'][] = []
    for (let next = await slow.next(); next.done !== true; next = await slow.next()) rest.push(next.value.type)
    expect(rest.at(-1)).toBe('end')
    expect(rest.filter((type) => type === 'audio-delta').length).toBeGreaterThan(3)
  })

  it('sends large media in pieces, whole, without holding up the server', async () => {
    const samples = new Float32Array(16_000 * 120)
    const medium = decodedAudio({ sampleRate: 16_000, samples })
    const withAudio = request({
      maxTokens: 2,
      messages: [{ role: 'user', content: [{ type: 'audio', audio: medium }] }],
    })
    let turn = 0
    let counting = true
    const countTurns = async (): Promise<void> => {
      for (; counting; turn += 1) await setImmediate()
    }
    const sentIn: number[] = []
    let bytes = 0
    const send = vi.spyOn(EngineProcess.prototype, 'send').mockImplementation(function (this: EngineProcess, message) {
      if (message.type === 'slice') {
        sentIn.push(turn)
        bytes += message.bytes.length
      }
      return Reflect.apply(original, this, [message])
    })
    void countTurns()
    await readReply(engine, withAudio)
    send.mockRestore()
    counting = false
    expect(bytes).toBe(samples.byteLength)
    // One slice a turn: other requests have theirs in between.
    expect(new Set(sentIn).size).toBe(sentIn.length)
    expect(sentIn.length).toBeGreaterThan(6)
  })

  it('generates for others while a long video is encoded, cancels it at once, and keeps none of its memory', async () => {
    await readReply(engine, request({ messages: [videoTurn(2)], maxTokens: 2 }))
    const before = await nativeBytes()
    const controller = new AbortController()
    const watching = readReply(engine, request({ messages: [videoTurn(40)], maxTokens: 2 }), controller.signal)
    const outcome = watching.then(
      () => 'watched',
      (error: unknown) => (error as Error).message,
    )
    const reply = await readReply(engine, request({ text: 'And you?', maxTokens: 5 }))
    expect(reply.usage.textTokens).toBeGreaterThan(0)
    controller.abort(new Error('gone'))
    expect(await outcome).toBe('gone')
    await until(() => engine.status().active === 0)
    expect(await nativeBytes()).toBeLessThanOrEqual(before)
  })
})

/** A user turn with a video at two frames a second. */
function videoTurn(frames: number): GenerationMessage {
  const [width, height] = [224, 168]
  const image = (frame: number) => ({ width, height, data: new Uint8Array(width * height * 3).fill(frame * 5) })
  const numbers = Array.from({ length: frames }, (_, frame) => frame)
  return {
    role: 'user',
    content: [
      {
        type: 'video',
        video: decodedVideo({ fps: 2, frames: numbers.map(image), timestamps: numbers.map((frame) => frame / 2) }),
      },
      { type: 'text', text: 'What happens?' },
    ],
  }
}
