/** Levels that come with the samples give the spectrogram that is computed at once, bit for bit. */

import { expect, it } from 'vitest'
import { type AudioFeatureConfig, logMel, melFrames, paddedLength } from './log-mel.ts'
import { MelLevels } from './mel-levels.ts'

const config: AudioFeatureConfig = { bands: 128, sampleRate: 16_000, hop: 160, fftLength: 400 }

/** Silence, then a voice-like tone that grows. */
function audio(samples: number): Float32Array {
  return Float32Array.from({ length: samples }, (_, i) =>
    i < samples / 5 ? 0 : ((i / samples) ** 3 * (Math.sin(i / 9) + Math.sin(i / 3.7 + Math.sin(i / 900)))) / 3,
  )
}

/** Pushed in pieces of changing size, computed in steps of changing size. */
function arrived(samples: Float32Array): MelLevels {
  const levels = new MelLevels(config)
  let [at, piece] = [0, 1]
  while (at < samples.length) {
    levels.push(samples.subarray(at, at + piece))
    levels.advance(piece % 7)
    at += piece
    piece = (piece * 5) % 1733
  }
  while (levels.advance(11)) expect(levels.frames).toBeGreaterThan(0)
  return levels
}

it.each([1, 199, 201, 400, 16_000, 16_001, 47_999, 80_123])('%i samples', async (length) => {
  const samples = audio(length)
  for (const padded of [paddedLength(length, config), length + 137, length + 800, length + 50_000]) {
    if (padded < paddedLength(length, config)) continue
    const wanted = await logMel(samples, config, padded)
    const frames = melFrames(length, padded, config)
    const { mel } = arrived(samples).complete(frames, padded)
    expect(frames).toBe(wanted.frames)
    expect(mel).toEqual(wanted.mel)
  }
})

it('knows which frames a higher floor changes', async () => {
  const samples = audio(48_000)
  const levels = arrived(samples.subarray(0, 32_000))
  const early = levels.floor
  levels.push(samples.subarray(32_000))
  while (levels.advance(50)) expect(levels.floor).toBeGreaterThanOrEqual(early)
  expect(levels.floor).toBeGreaterThan(early)
  expect(levels.loudestAt).toBeGreaterThan(190)
  const { floor } = levels
  let changed = 0
  for (let frame = 0; frame < 190; frame++) {
    const same = levels.features(frame, frame + 1, early).every((value, band) => {
      return value === levels.features(frame, frame + 1, floor)[band]
    })
    expect(levels.lowest(frame, frame + 1) >= floor).toBe(same)
    if (!same) changed += 1
  }
  expect(changed).toBeGreaterThan(10)
})
