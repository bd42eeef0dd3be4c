/** Memory pressure and reuse of earlier requests: what waits, what is evicted, what is reused. Over a fake model. */

import { afterEach, describe, expect, it } from 'vitest'
import { decodedAudio } from '../../testing/decoded-media.ts'
import { answer, fakePrepare } from '../../testing/fake-model.ts'
import { FakeRuntimes } from '../../testing/fake-runtime.ts'
import { talkerSpeech } from '../../testing/fake-talker.ts'
import { windowedSpeech } from '../../testing/fake-windowed.ts'
import { makeRequest, readReply } from '../../testing/requests.ts'
import type { EngineEvent, GenerationMessage } from '../contract/index.ts'

const runtimes = new FakeRuntimes()
const start: FakeRuntimes['start'] = (model, options) => runtimes.start({ speaksBy: talkerSpeech, ...model }, options)

afterEach(async () => {
  for (const alive of await runtimes.close()) expect(alive).toEqual({ sequences: 0, streams: 0 })
})

/** A user turn of audio of so many seconds. */
const sounds = (seconds: number): GenerationMessage => ({
  role: 'user',
  content: [
    { type: 'audio', audio: decodedAudio({ sampleRate: 16_000, samples: new Float32Array(16_000 * seconds) }) },
  ],
})

describe('memory', () => {
  it('waits for cache that others hold, and says so when there never will be enough', async () => {
    const { runtime, model } = start({ memoryTokens: 170, thinkerDelay: () => 1 }, {})
    const begun = model.thinkerBatches.length
    const replies = await Promise.all([1, 2, 3].map(() => readReply(runtime, makeRequest({ maxTokens: 100 }))))
    expect(replies.map(({ reason }) => reason)).toEqual(['stop', 'stop', 'stop'])
    expect(Math.max(...model.thinkerBatches.slice(begun).map((batch) => batch.length))).toBeLessThan(3)
    await expect(readReply(runtime, makeRequest({ maxTokens: 200 }))).rejects.toMatchObject({
      code: 'overloaded',
      message: expect.stringContaining('would fit') as string,
    })
  })

  it('lets the last give up its cache when all have grown into each other, and loses nothing of it', async () => {
    const text = 'abcdefghij'.repeat(12)
    const { runtime, model } = start({ memoryTokens: 300, script: answer(text) }, { maxConcurrent: 3 })
    const replies = await Promise.all(
      ['one', 'two', 'three'].map((words, i) =>
        readReply(
          runtime,
          makeRequest({ text: words, maxTokens: 140, ...(i === 2 && { voice: 'Ethan', cacheScope: 'me' }) }),
        ),
      ),
    )
    expect(replies.map((reply) => reply.text)).toEqual([text, text, text])
    expect(replies.map((reply) => reply.usage.textTokens)).toEqual([120, 120, 120])
    // Some of it was prefilled again: more tokens were run than the prompts and replies have.
    const run = model.thinkerBatches.flat().reduce((sum, tokens) => sum + tokens, 0)
    expect(run).toBeGreaterThan(3 * 120 + replies.reduce((sum, { usage }) => sum + (usage.prompt?.total ?? 0), 0))
    const alone = start({ script: answer(text) })
    const wanted = await readReply(alone.runtime, makeRequest({ text: 'three', maxTokens: 140, voice: 'Ethan' }))
    expect(replies[2]!.pcm).toEqual(wanted.pcm)
  })
})

it('fails the last, retryably, when all that have grown into each other have media', async () => {
  const text = 'abcdefghij'.repeat(12)
  const { runtime } = start({ memoryTokens: 300, script: answer(text) }, { maxConcurrent: 3 })
  const replies = await Promise.allSettled(
    [1, 2, 3].map((seconds) => readReply(runtime, makeRequest({ messages: [sounds(seconds)], maxTokens: 140 }))),
  )
  const failed = replies.filter(({ status }) => status === 'rejected')
  expect(failed.length).toBe(1)
  expect(failed[0]).toMatchObject({ reason: { code: 'overloaded', retryable: true } })
  for (const reply of replies) if (reply.status === 'fulfilled') expect(reply.value.text).toBe(text)
})

describe('what earlier requests left', () => {
  it('is gone on from by the next turn of the same scope, and only by it', async () => {
    const { runtime, model } = start({ script: answer('Fine.') })
    const user = (text: string): GenerationMessage => ({ role: 'user', content: [{ type: 'text', text }] })
    const assistant: GenerationMessage = { role: 'assistant', content: [{ type: 'text', text: 'Fine.' }] }
    const first = [user('How are you this morning?')]
    await readReply(runtime, makeRequest({ messages: first, cacheScope: 'me' }))
    const second = [...first, assistant, user('And now?')]
    const ran = model.thinkerBatches.length
    const reply = await readReply(runtime, makeRequest({ messages: second, cacheScope: 'me' }))
    const { total, cached } = reply.usage.prompt!
    expect(cached).toBeGreaterThan(30)
    expect(model.thinkerBatches[ran]).toEqual([total - cached!])
    const other = await readReply(runtime, makeRequest({ messages: second, cacheScope: 'you' }))
    expect(other.usage.prompt).not.toHaveProperty('cached')
    const none = await readReply(runtime, makeRequest({ messages: second }))
    expect(none.usage.prompt).not.toHaveProperty('cached')
    expect(runtime.cached.prefixes).toBe(2)
  })

  it.each([
    ['of media', talkerSpeech],
    ['of every token', windowedSpeech],
  ])('has the hidden states that speech reads: %s', async (_, speaksBy) => {
    const script = answer('A reply that is long enough.')
    const user = (text: string): GenerationMessage => ({ role: 'user', content: [{ type: 'text', text }] })
    const assistant: GenerationMessage = {
      role: 'assistant',
      content: [{ type: 'text', text: 'A reply that is long enough.' }],
    }
    const turns = [sounds(5), assistant, user('And then?'), assistant, user('And after that?')]
    const reusing = start({ speaksBy, script })
    const fresh = start({ speaksBy, script })
    for (const [length, voice] of [
      [1, undefined],
      [3, 'Ethan'],
      [3, 'Chelsie'],
      [5, 'Ethan'],
    ] as const) {
      const ask = (): Parameters<typeof makeRequest>[0] => ({
        messages: turns.slice(0, length),
        ...(voice !== undefined && { voice }),
      })
      const reply = await readReply(reusing.runtime, makeRequest({ ...ask(), cacheScope: 'me' }))
      const wanted = await readReply(fresh.runtime, makeRequest(ask()))
      expect([reply.text, reply.pcm]).toEqual([wanted.text, wanted.pcm])
      if (length > 1) expect(reply.usage.prompt?.cached).toBeGreaterThan(20)
    }
    // The talker continued its own last sequence, too; the other family's recomputed every row, with the kept hidden
    // states.
    const rows = [reusing, fresh].map(({ model }) => model.talkerRows.length)
    if (speaksBy === talkerSpeech) expect(rows).toEqual([1, 3])
    else expect(reusing.model.talkerPositions).toEqual(fresh.model.talkerPositions)
  })

  it('is encoded once, for several questions about it', async () => {
    const { runtime, model } = start({ script: answer('Yes.') })
    const ask = (first: string): GenerationMessage[] => [
      { role: 'system', content: [{ type: 'text', text: first }] },
      sounds(7),
    ]
    await readReply(runtime, makeRequest({ messages: ask('one'), cacheScope: 'me' }))
    await readReply(runtime, makeRequest({ messages: ask('two'), cacheScope: 'me' }))
    expect(model.sounds.length).toBe(1)
    await readReply(runtime, makeRequest({ messages: ask('two'), cacheScope: 'you' }))
    expect(model.sounds.length).toBe(2)
    expect(runtime.cached.mediaBytes).toBe(2 * 7 * 4 * 4)
  })

  it('is evicted for a request that needs its memory', async () => {
    const { runtime } = start({ memoryTokens: 160, script: answer('Fine.') })
    await readReply(runtime, makeRequest({ text: 'x'.repeat(60), cacheScope: 'me' }))
    expect(runtime.cached.prefixes).toBe(1)
    const reply = await readReply(runtime, makeRequest({ text: 'y'.repeat(70), maxTokens: 70 }))
    expect([reply.text, runtime.cached.prefixes]).toEqual(['Fine.', 0])
  })

  it('is not there when nothing is to be kept', async () => {
    const { runtime, model } = start({}, { maxCachedPrefixes: 0 })
    const request = { text: 'the same words again', cacheScope: 'me' }
    await readReply(runtime, makeRequest(request))
    expect(model.alive().sequences).toBe(0)
    expect((await readReply(runtime, makeRequest(request))).usage.prompt).not.toHaveProperty('cached')
  })
})

it('says that it starts once its media could be read', async () => {
  const { runtime } = start()
  const [message] = [sounds(2)]
  const [part] = message.content
  if (part?.type !== 'audio') throw new Error('no audio')
  const prepared = await fakePrepare(makeRequest({ messages: [message] }))
  const broken = {
    ...prepared,
    features: prepared.features.map((feature) => ({
      ...feature,
      load: () => Promise.reject(new TypeError('a broken file')),
    })),
  }
  const strict = start({}, { prepare: () => Promise.resolve(broken) })
  const events: EngineEvent[] = []
  const reading = (async () => {
    for await (const event of strict.runtime.generate(makeRequest(), new AbortController().signal)) events.push(event)
  })()
  await expect(reading).rejects.toThrow('a broken file')
  expect(events).toEqual([])
  expect(runtime.load.active).toBe(0)
})
