/** Decoding delivers what headers and packets declare. */

import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, expect, it } from 'vitest'
import { makeMedia } from '../../testing/make-media.ts'
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

/** In WAVE and AVI, packets of this codec do not say how long they are. */
const unmeasured = { audio: { codec: 'adpcm_swf', rate: 22_050, tones: [{ start: 0, seconds: 2, hz: 440 }] } }
const data = (file: Buffer): string => `data:;base64,${file.toString('base64')}`

it('audio whose packets have no duration', async () => {
  await using medium = await loader.audio(data(makeMedia({ container: 'wav', tracks: [unmeasured] })))
  const stated = medium.facts.samples
  const { samples } = await medium.decode()
  expect(samples.length / 16_000).toBeCloseTo(2, 1)
  expect(stated).toBe(samples.length)
})

it('a video with such audio', async () => {
  const tracks = [{ video: { codec: 'mjpeg', frames: 20 } }, unmeasured]
  await using medium = await loader.video(data(makeMedia({ container: 'avi', tracks })))
  const stated = medium.facts.audio?.samples
  const { audio } = await medium.decode()
  expect(audio?.samples.length).toBeGreaterThan(16_000 * 1.9)
  expect(stated).toBe(audio?.samples.length)
})
