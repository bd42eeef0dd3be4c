/** Loading, twice, as the decision says: repacked and kept, then mapped; the replies are the same. */

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { tinyCheckpoint } from '../../../testing/golden-conversations.ts'
import { makeRequest, readReply } from '../../../testing/requests.ts'
import { testDevice } from '../../tensor/test-device.ts'
import { loadHostedModel } from './load-model.ts'
import type { LoadOptions } from './messages.ts'

/** How it was loaded, and what it says. */
async function loaded(
  more: Partial<LoadOptions>,
): Promise<{ chosen: string; faster: string | undefined; codes: number[] }> {
  const hosted = await loadHostedModel(
    {
      checkpoint: tinyCheckpoint('tiny-moe'),
      id: 'tiny',
      device: testDevice,
      threads: 2,
      types: { type: 'q4_0' },
      maxSpeechFrames: 10,
      ...more,
    },
    () => undefined,
  )
  try {
    const request = makeRequest({ model: 'tiny', text: 'Hello!', maxTokens: 8, voice: hosted.speakers[0]! })
    const { pcm } = await readReply(hosted.runtime, request)
    const { chosen, faster } = hosted.placement!
    return { chosen, faster, codes: Array.from(pcm) }
  } finally {
    await hosted.runtime.close()
    hosted.dispose()
  }
}

it('repacks weights once, keeps them and maps them, or leaves them', async ({ skip }) => {
  const cacheDirectory = await mkdtemp(join(tmpdir(), 'omniserve-placement-'))
  try {
    const first = await loaded({ cacheDirectory })
    skip(first.chosen.endsWith('as stored'), 'nothing is repacked on this device')
    expect(first.chosen).toMatch(/MB repacked for this processor at this start, kept in .*omniserve-placement-/)
    expect(first.codes.length).toBeGreaterThan(0)
    const kept = await readdir(cacheDirectory)
    expect(kept.every((name) => name.endsWith('.repacked'))).toBe(true)
    const second = await loaded({ cacheDirectory })
    expect(second.chosen).toMatch(/MB repacked for this processor, mapped from .*omniserve-placement-/)
    expect(second.codes).toEqual(first.codes)
    expect(await readdir(cacheDirectory)).toEqual(kept)
    const nowhere = await loaded({})
    expect(nowhere).toMatchObject({ chosen: expect.stringMatching(/in memory/), codes: first.codes })
    expect(nowhere.faster).toMatch(/kept on disk/)
    expect(await loaded({ cacheDirectory, repack: false })).toMatchObject({
      chosen: expect.stringMatching(/as stored$/),
      faster: expect.stringMatching(/switched off/),
    })
  } finally {
    await rm(cacheDirectory, { recursive: true, force: true })
  }
})
