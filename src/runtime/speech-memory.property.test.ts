/**
 * Many requests at random times in little memory: all end, whole, and say what they say alone. Over a fake model whose
 * thinker and talker share a budget.
 */

import { afterEach, describe, expect, it } from 'vitest'
import { decodedAudio } from '../../testing/decoded-media.ts'
import { fakeBlock } from '../../testing/fake-harness.ts'
import type { FakeModelOptions } from '../../testing/fake-model.ts'
import { FakeRuntimes } from '../../testing/fake-runtime.ts'
import { talkerSpeech } from '../../testing/fake-talker.ts'
import { makeRequest, readReply } from '../../testing/requests.ts'
import { seededRandom } from '../../testing/seeded-random.ts'
import { type GenerationMessage, type GenerationRequest } from '../contract/index.ts'
import { MemoryBudget } from '../models/memory-budget.ts'

const runtimes = new FakeRuntimes()

afterEach(async () => {
  for (const alive of await runtimes.close()) expect(alive).toEqual({ sequences: 0, streams: 0 })
})

interface Arrival {
  readonly request: () => GenerationRequest
  /** Turns of the event loop before it comes, and before it leaves. */
  readonly after: number
  readonly leaves: number | undefined
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise<void>((resolve) => void setImmediate(resolve))
}

/** Requests of a seed. `media`: some have audio, which cannot be read again. */
function arrivals(seed: number, media: boolean): Arrival[] {
  const random = seededRandom(seed)
  const pick = (most: number): number => Math.floor(random() * most)
  return Array.from({ length: 14 }, (_, number) => {
    const text = `${number} ${'why '.repeat(pick(8))}`
    const messages: GenerationMessage[] = [{ role: 'user', content: [{ type: 'text', text }] }]
    if (media && random() < 0.4) {
      const audio = decodedAudio({ sampleRate: 16_000, samples: new Float32Array(16_000 * (1 + pick(5))) })
      messages.push({ role: 'user', content: [{ type: 'audio', audio }] })
    }
    const options = {
      messages,
      maxTokens: 4 + pick(50),
      ...(random() < 0.8 && { voice: random() < 0.5 ? 'Ethan' : 'Chelsie' }),
      ...(random() < 0.4 && { cacheScope: `scope ${pick(2)}` }),
    }
    return {
      request: () => makeRequest(options),
      after: pick(60),
      leaves: random() < 0.2 ? pick(200) : undefined,
    }
  })
}

const bytesOf = (pcm: Int16Array): Uint8Array => new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength)

/** Texts as long as asked for, and speech that goes on for a while after them. */
const model: FakeModelOptions = {
  speaksBy: talkerSpeech,
  tailFrames: 70,
  script: (ids) => 97 + ((ids.length * 7 + ids[2]!) % 26),
}

/** Pieces of talker prompts run beyond those of replies alone. */
let again = 0

describe.each([0, 1, 2])('arrivals %i', (seed) => {
  it.each([true, false])('all end in little memory, with media: %s', async (media) => {
    const list = arrivals(seed, media)
    const alone = runtimes.start(model, { maxConcurrent: 1 })
    const wanted = []
    for (const { request } of list) wanted.push(await readReply(alone.runtime, request()))
    // What the longest takes by itself, thinker and talker, and some blocks more.
    const budget = new MemoryBudget(18 * fakeBlock + (seed % 4) * 3 * fakeBlock)
    const before = budget.used
    const { runtime, model: together } = runtimes.start(
      { ...model, budget },
      { maxConcurrent: 8, maxWaiting: 64, maxCachedPrefixes: 8 },
    )
    const said = new Map<number, Awaited<ReturnType<typeof readReply>>>()
    const failures: unknown[] = []
    await Promise.all(
      list.map(async ({ request, after, leaves }, i) => {
        await turns(after)
        const leave = new AbortController()
        const reason = new Error('enough')
        if (leaves !== undefined) void turns(leaves).then(() => leave.abort(reason))
        try {
          said.set(i, await readReply(runtime, request(), leave.signal))
        } catch (error) {
          if (error !== reason) failures.push(error)
        }
      }),
    )
    expect(failures).toEqual([])
    expect(said.size).toBeGreaterThan(8)
    for (const [i, reply] of said) {
      const { text, pcm, reason } = wanted[i]!
      expect([reply.text, reply.reason, reply.usage.audioTokens]).toEqual([text, reason, wanted[i]!.usage.audioTokens])
      expect(Buffer.compare(bytesOf(reply.pcm), bytesOf(pcm))).toBe(0)
    }
    const pieces = [together, alone.model].map(
      ({ talkerBatches }) => talkerBatches.flat().filter((rows) => rows > 1).length,
    )
    again += pieces[0]! - pieces[1]!
    expect(runtime.load).toEqual({ active: 0, waiting: 0 })
    await runtime.close()
    expect(budget.used).toBe(before)
  })
})

it('had some give up what they had computed', () => {
  expect(again).toBeGreaterThan(0)
})
