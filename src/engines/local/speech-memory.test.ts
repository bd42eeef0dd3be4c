/** Spoken replies that do not fit into memory together wait for one another, and none breaks off. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { goldenMessages, tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { makeRequest, readReply } from '../../../testing/requests.ts'
import { until } from '../../../testing/until.ts'
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

  it.each([
    ['waits for memory before it begins', 12],
    ['gives way and continues when all have grown into each other', 240],
  ])('%s', async (_, maxTokens) => {
    const alone = ask(maxTokens)
    const wanted = await readReply(hosted.runtime, alone)
    expect(wanted.pcm.length).toBeGreaterThan(0)
    if (maxTokens === 240) expect(wanted.usage.textTokens).toBe(240)
    const together = Array.from({ length: 6 }, () => ask(maxTokens))
    const replies = await Promise.all(together.map((one) => readReply(hosted.runtime, one)))
    for (const [i, reply] of replies.entries()) {
      expect(reply.text).toBe(wanted.text)
      expect(reply.pcm).toHaveLength(wanted.pcm.length)
      expect(frames.get(together[i]!.id)).toEqual(frames.get(alone.id))
    }
  })

  it('lets who waits for memory leave at once', async () => {
    const leave = new AbortController()
    const reason = new Error('enough')
    const replies = Array.from({ length: 6 }, (_, i) =>
      readReply(hosted.runtime, ask(240), i % 2 === 0 ? undefined : leave.signal),
    )
    const gone = replies.filter((_, i) => i % 2 === 1).map((reply) => expect(reply).rejects.toBe(reason))
    await until(() => hosted.runtime.load.active === 6)
    leave.abort(reason)
    await Promise.all(gone)
    expect(hosted.runtime.load.active).toBeLessThanOrEqual(3)
    await Promise.all(replies.filter((_, i) => i % 2 === 0))
  })
})
