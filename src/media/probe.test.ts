/** A probe of headers and packets predicts what decoding delivers. */

import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, expect, it } from 'vitest'
import { makeMedia } from '../../testing/make-media.ts'
import { createMediaLoader, MediaError } from './index.ts'

const folder = new URL('../../testdata/media/', import.meta.url)
const loader = createMediaLoader({ workers: 1 })
afterAll(() => loader[Symbol.asyncDispose]())

const uri = (name: string): string => `data:;base64,${readFileSync(new URL(name, folder)).toString('base64')}`
const names = readdirSync(folder).filter((name) => name.includes('.') && !/\.(md|json|py|sh)$/.test(name))

it.each(names)('%s: the probe agrees with the decoded media', async (name) => {
  const decodedAs = { image: 0, audio: 0, video: 0 }
  for (const kind of ['image', 'audio', 'video'] as const) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- one decoder
      await using medium = await loader[kind](uri(name))
      const probed = medium.facts
      const probeWarnings = medium.warnings
      // oxlint-disable-next-line no-await-in-loop -- one decoder
      await medium.decode()
      decodedAs[kind] += 1
      expect(medium.exact).toBe(true)
      expect(medium.warnings).toEqual(expect.arrayContaining([...probeWarnings]))
      const { audio: probedAudio, samples: probedSamples, ...probedRest } = { audio: undefined, samples: 0, ...probed }
      const { audio, samples, ...rest } = { audio: undefined, samples: 0, ...medium.facts }
      expect(probedRest).toEqual(rest)
      expect(Math.abs(probedSamples - samples)).toBeLessThan(16_000 * 0.1)
      expect(Math.abs((probedAudio?.samples ?? 0) - (audio?.samples ?? 0))).toBeLessThan(16_000 * 0.1)
    } catch (error) {
      if (!(error instanceof MediaError)) throw error
    }
  }
  expect(
    decodedAs.image + decodedAs.audio + decodedAs.video,
    'decodable as some kind, unless broken on purpose',
  ).toBeGreaterThan(/empty|broken|cut/.test(name) ? -1 : 0)
})

/** In WAVE and AVI, packets of this codec have no duration. */
const withoutDuration = { audio: { codec: 'adpcm_swf', rate: 22_050, tones: [{ start: 0, seconds: 2, hz: 440 }] } }
const data = (file: Buffer): string => `data:;base64,${file.toString('base64')}`

it('audio whose packets have no duration is measured by decoding', async () => {
  await using medium = await loader.audio(data(makeMedia({ container: 'wav', tracks: [withoutDuration] })))
  const probed = medium.facts.samples
  const { samples } = await medium.decode()
  expect(samples.length / 16_000).toBeCloseTo(2, 1)
  expect(probed).toBe(samples.length)
})

it('the audio of a video whose packets have no duration is measured by decoding', async () => {
  const tracks = [{ video: { codec: 'mjpeg', frames: 20 } }, withoutDuration]
  await using medium = await loader.video(data(makeMedia({ container: 'avi', tracks })))
  const probed = medium.facts.audio?.samples
  const { audio } = await medium.decode()
  expect(audio?.samples.length).toBeGreaterThan(16_000 * 1.9)
  expect(probed).toBe(audio?.samples.length)
})

it('an Ogg stream whose last packet is trimmed by more than its length is not too long', async () => {
  const part = (hz: number, seconds: number) =>
    makeMedia({
      container: 'ogg',
      tracks: [{ audio: { codec: 'libvorbis', rate: 44_100, tones: [{ start: 0, seconds, hz }] } }],
    })
  await using medium = await loader.audio(data(Buffer.concat([part(440, 1), part(440, 0.001), part(880, 1)])))
  expect(medium.facts.samples / 16_000).toBeCloseTo(2, 1)
})
