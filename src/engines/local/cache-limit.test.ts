/** Memory for caches that is smaller than one reply is found at start, and replies are no longer than what fits. */

import { expect, it } from 'vitest'
import { tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { makeRequest, readReply } from '../../../testing/requests.ts'
import { loadHostedModel } from './load-model.ts'
import type { LoadOptions } from './messages.ts'

const load = (name: string, cacheBytes: number): ReturnType<typeof loadHostedModel> => {
  const checkpoint = tinyCheckpoint(name)
  const options: LoadOptions = { checkpoint, id: name, device: 'cpu', threads: 1, maxSpeechFrames: 20, cacheBytes }
  return loadHostedModel(options, () => undefined)
}

it.each(['tiny-moe', 'tiny25-grouped', 'tiny-thinker'])(
  '%s: refuses less than the shortest reply takes',
  async (name) => {
    const refused = await load(name, 1000).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'unsupported' })
    const { message } = refused as Error
    expect(message).toMatch(
      /^--cache-memory is 1000, but the caches of the shortest .*reply of this checkpoint take \d+ bytes/,
    )
    const least = Number(/take (\d+) bytes/.exec(message)![1])
    await expect(load(name, least - 1)).rejects.toMatchObject({ code: 'unsupported' })
    const hosted = await load(name, least)
    try {
      const voice = hosted.speakers[0]
      const request = makeRequest({ model: name, text: 'x', maxTokens: 20, ...(voice !== undefined && { voice }) })
      expect((await readReply(hosted.runtime, request)).usage.textTokens).toBeGreaterThan(0)
      expect(hosted.model.maxOutputTokens).toBeLessThanOrEqual(256)
      await expect(
        readReply(hosted.runtime, makeRequest({ model: name, text: 'x', maxTokens: 3000 })),
      ).rejects.toMatchObject({
        code: 'overloaded',
        retryable: false,
        message: expect.stringMatching(/tokens would fit.*--cache-memory/) as string,
      })
    } finally {
      await hosted.runtime.close()
      hosted.dispose()
    }
  },
)
