import { expect, it } from 'vitest'
import type { RgbImage } from '../contract/index.ts'
import { MeasuredSizes } from './measured-media.ts'
import { BytePatches } from './patch-values.ts'
import { type VisionFeatureConfig, visionPatches } from './vision-patches.ts'

const scale = { rescale: 1 / 255, mean: [0.48, 0.45, 0.4], deviation: [0.26, 0.25, 0.27] } as const

it('scales any range of 8-bit patches in single precision, by channel', () => {
  const plane = 5
  const levels = Uint8Array.from({ length: 4 * 3 * plane }, (_, index) => (index * 37) % 256)
  const expected = Float32Array.from(levels, (level, index) => {
    const channel = (Math.floor(index / plane) % 3) as 0 | 1 | 2
    return (level * scale.rescale - scale.mean[channel]) / scale.deviation[channel]
  })
  const patches = new BytePatches(levels, plane, scale)
  expect(patches).toHaveLength(60)
  for (let start = 0; start <= 60; start++)
    for (let end = start; end <= 62; end++) expect(patches.slice(start, end)).toEqual(expected.slice(start, end))
})

const config: VisionFeatureConfig = {
  ...scale,
  patchSize: 4,
  temporalPatchSize: 2,
  mergeSize: 2,
  limits: { min: 64, max: 64 * 64 },
  resize: 'torch',
}

function frame(seed: number): RgbImage {
  return { width: 16, height: 8, data: Uint8Array.from({ length: 16 * 8 * 3 }, (_, index) => (index * 7 + seed) % 256) }
}

it('lets go of each frame once it is cut, and repeats the last one', async () => {
  const frames = [frame(1), frame(2), frame(3)]
  const { patches, grid } = await visionPatches(frames, config)
  expect([frames, grid, patches.length]).toEqual([[], [2, 2, 4], 2 * 8 * 3 * 2 * 16])
  const { patches: filled } = await visionPatches([frame(1), frame(2), frame(3), frame(3)], config)
  expect(patches.slice(0, patches.length)).toEqual(filled.slice(0, filled.length))
})

it('holds of a decoded video only what is still to be read', async () => {
  let decoded = 0
  const audio = { sampleRate: 16_000, samples: new Float32Array(1600) }
  const facts = { width: 16, height: 8, sourceWidth: 16, sourceHeight: 8, frames: 2, fps: 1, seconds: 2 }
  const frames = (): readonly RgbImage[] => [frame(1), frame(2)]
  const video = {
    kind: 'video' as const,
    files: [],
    facts: { ...facts, audio: { sampleRate: 16_000, samples: 1600 } },
    exact: false,
    contentKey: 'a',
    decode: () => {
      decoded += 1
      return Promise.resolve({ frames: frames(), timestamps: [0, 1], fps: 1, audio })
    },
    release: () => undefined,
  }
  const sizes = new MeasuredSizes()
  const measured = await sizes.measure({ type: 'video', video })
  expect((await measured.read('vision')).length).toBe(2)
  expect(await measured.read('audio')).toBe(audio)
  expect(decoded).toBe(1)
  // Its size is known now. Content released before it was needed is not kept, and the rest is decoded once.
  const again = await sizes.measure({ type: 'video', video })
  expect(decoded).toBe(1)
  again.release('vision')
  expect(await again.read('audio')).toBe(audio)
  expect(decoded).toBe(2)
  const unread = await sizes.measure({ type: 'video', video: { ...video, contentKey: 'b' } })
  expect(decoded).toBe(3)
  unread.release('audio')
  unread.release('vision')
  // Its content was not kept: a later use decodes again.
  expect((await unread.read('vision')).length).toBe(2)
  expect(decoded).toBe(4)
})
