/** Spoken replies that do not fit into memory together wait for one another, and none breaks off. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { goldenMessages, tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { makeRequest, readReply } from '../../../testing/requests.ts'
import type { GenerationRequest } from '../../contract/index.ts'
import { loadHostedModel } from './load-model.ts'
import type { HostedModel } from './process-host.ts'

/** Two replies' caches of thinker and talker, or three of the thinker alone. */
const memory = { 'tiny-moe': 2_200_000, 'tiny25-grouped': 900_000 }

describe.each(Object.entries(memory))('%s', (name, cacheBytes) => {
  const frames = new Map<string, number[]>()
  let hosted: HostedModel

  beforeAll(async () => {
    hosted = await loadHostedModel(
      {
        checkpoint: tinyCheckpoint(name),
        id: name,
        device: 'cpu',
        threads: 1,
        exact: true,
        maxSpeechFrames: 20,
        maxConcurrent: 6,
        cacheBytes,
      },
      () => undefined,
      {
        token: () => undefined,
        frame: (request, codes) => void frames.set(request, [...(frames.get(request) ?? []), ...codes]),
      },
    )
  })
  afterAll(async () => {
    await hosted.runtime.close()
    hosted.dispose()
  })

  const messages = goldenMessages({
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Where does the river begin?' }] }],
  })
  const ask = (maxTokens: number): GenerationRequest =>
    makeRequest({ model: name, messages, maxTokens, voice: 'Ethan' })

  it('waits for memory before it begins', async () => {
    const alone = ask(12)
    const wanted = await readReply(hosted.runtime, alone)
    expect(wanted.pcm.length).toBeGreaterThan(0)
    const together = Array.from({ length: 6 }, () => ask(12))
    const replies = await Promise.all(together.map((one) => readReply(hosted.runtime, one)))
    for (const [i, reply] of replies.entries()) {
      expect(reply.text).toBe(wanted.text)
      expect(reply.pcm).toHaveLength(wanted.pcm.length)
      expect(frames.get(together[i]!.id)).toEqual(frames.get(alone.id))
    }
  })

  it('ends when all have grown into each other: some whole, the others retryably', async () => {
    const alone = await readReply(hosted.runtime, ask(240))
    expect(alone.usage.textTokens).toBe(240)
    const replies = await Promise.allSettled(Array.from({ length: 6 }, () => readReply(hosted.runtime, ask(240))))
    const whole = replies.filter(({ status }) => status === 'fulfilled')
    expect(whole.length).toBeGreaterThan(0)
    for (const reply of replies) {
      if (reply.status === 'fulfilled') expect(reply.value.text).toBe(alone.text)
      else expect(reply.reason).toMatchObject({ code: 'overloaded' })
    }
    expect(await readReply(hosted.runtime, ask(240))).toMatchObject({ text: alone.text })
  })
})
