/** Audio that arrives crosses to the engine process, and its loss with that process is no loss. */

import { afterAll, beforeAll, expect, it } from 'vitest'
import { decodedAudio } from '../../../testing/decoded-media.ts'
import { tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { makeRequest, readReply } from '../../../testing/requests.ts'
import { until } from '../../../testing/until.ts'
import type { AudioMedium, GenerationRequest } from '../../contract/index.ts'
import { createLocalEngine, type LocalEngine } from './local-engine.ts'

const RATE = 16_000
let engine: LocalEngine

beforeAll(async () => {
  engine = await createLocalEngine({
    checkpoint: tinyCheckpoint('tiny-moe'),
    id: 'tiny',
    device: 'cpu',
    threads: 1,
    exact: true,
    restartPause: [20, 200],
  })
})
afterAll(() => engine.close())

const samples = Float32Array.from({ length: 9 * RATE }, (_, at) => Math.sin(at / 11 + Math.sin(at / 3000)) / 3)

/** Says how often it was decoded. */
function counted(): { medium: AudioMedium; decoded: () => number } {
  const medium = decodedAudio({ sampleRate: RATE, samples })
  let times = 0
  const decode: AudioMedium['decode'] = (signal) => {
    times += 1
    return medium.decode(signal)
  }
  return { medium: { ...medium, decode }, decoded: () => times }
}

const ask = (audio: AudioMedium, scope?: string): GenerationRequest =>
  makeRequest({
    model: 'tiny',
    messages: [{ role: 'user', content: [{ type: 'audio', audio }] }],
    maxTokens: 6,
    ...(scope !== undefined && { cacheScope: scope }),
  })

it('is answered without its samples being sent again', async () => {
  const { medium, decoded } = counted()
  using audio = engine.openAudio!(ask(medium, 'me'), { prefills: true })!
  for (let at = 0; at < samples.length; at += 1600) audio.append(samples.subarray(at, at + 1600))
  audio.complete(medium.contentKey)
  expect(engine.status().active).toBe(0)
  const reply = await readReply(engine, ask(medium, 'me'))
  expect(decoded()).toBe(0)
  const whole = counted()
  expect(reply.text).toBe((await readReply(engine, ask(whole.medium))).text)
  expect(whole.decoded()).toBe(1)
})

it('is sent whole where the process died meanwhile', async () => {
  const { medium, decoded } = counted()
  using audio = engine.openAudio!(ask(medium, 'me too'), { prefills: true })!
  audio.append(samples.subarray(0, 5 * RATE))
  const { processId } = engine
  process.kill(processId!, 'SIGKILL')
  await until(() => engine.processId !== processId)
  audio.append(samples.subarray(5 * RATE))
  audio.complete(medium.contentKey)
  const reply = await readReply(engine, ask(medium, 'me too'))
  expect(decoded()).toBe(1)
  expect(reply.text).toBe((await readReply(engine, ask(medium))).text)
})

it('is refused for another model', () => {
  expect(engine.openAudio!({ ...ask(counted().medium), model: 'other' }, { prefills: true })).toBeUndefined()
})
