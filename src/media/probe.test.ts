/** Decoding delivers what headers and packets declare. */

import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, expect, it } from 'vitest'
import { createMediaLoader, MediaError } from './index.ts'

const folder = new URL('../../testdata/media/', import.meta.url)
const loader = createMediaLoader({ workers: 1 })
afterAll(() => loader[Symbol.asyncDispose]())

const uri = (name: string): string => `data:;base64,${readFileSync(new URL(name, folder)).toString('base64')}`
const names = readdirSync(folder).filter((name) => name.includes('.') && !/\.(md|json|py|sh)$/.test(name))

it.each(names)('%s', async (name) => {
  const known = { image: 0, audio: 0, video: 0 }
  for (const kind of ['image', 'audio', 'video'] as const) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- one decoder
      await using medium = await loader[kind](uri(name))
      const stated = medium.facts
      const said = medium.warnings
      // oxlint-disable-next-line no-await-in-loop -- one decoder
      await medium.decode()
      known[kind] += 1
      expect(medium.exact).toBe(true)
      expect(medium.warnings).toEqual(expect.arrayContaining([...said]))
      const { audio: statedAudio, samples: statedSamples, ...statedRest } = { audio: undefined, samples: 0, ...stated }
      const { audio, samples, ...rest } = { audio: undefined, samples: 0, ...medium.facts }
      expect(statedRest).toEqual(rest)
      expect(Math.abs(statedSamples - samples)).toBeLessThan(16_000 * 0.1)
      expect(Math.abs((statedAudio?.samples ?? 0) - (audio?.samples ?? 0))).toBeLessThan(16_000 * 0.1)
    } catch (error) {
      if (!(error instanceof MediaError)) throw error
    }
  }
  expect(known.image + known.audio + known.video, 'readable as something, or broken on purpose').toBeGreaterThan(
    /empty|broken|cut/.test(name) ? -1 : 0,
  )
})
