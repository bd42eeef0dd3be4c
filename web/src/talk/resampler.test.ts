import { describe, expect, it } from 'vitest'
import { StreamResampler } from './resampler.ts'

const tone = (hertz: number, rate: number, seconds: number): Float32Array =>
  Float32Array.from({ length: rate * seconds }, (_, index) => Math.sin((2 * Math.PI * hertz * index) / rate))

const rms = (samples: Float32Array): number =>
  Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length)

describe.each([48_000, 44_100, 16_000])('from %i Hz to 16 kHz', (rate) => {
  it('keeps a tone in place, however it is cut', () => {
    const whole = new StreamResampler(rate, 16_000).push(tone(440, rate, 1))
    const inPieces = new StreamResampler(rate, 16_000)
    const source = tone(440, rate, 1)
    const pieces: number[] = []
    for (let at = 0; at < source.length; at += 128) pieces.push(...inPieces.push(source.subarray(at, at + 128)))
    expect(pieces.length).toBe(whole.length)
    expect(Math.max(...pieces.map((sample, index) => Math.abs(sample - whole[index]!)))).toBeLessThan(1e-6)
    const expected = tone(440, 16_000, 1)
    // The first samples also depend on the silence before the tone.
    const worst = Math.max(...pieces.slice(100).map((sample, index) => Math.abs(sample - expected[index + 100]!)))
    expect(worst).toBeLessThan(0.01)
    expect(pieces.length).toBeGreaterThan(15_900)
  })
})

it('leaves out what the lower rate cannot hold', () => {
  const resampled = new StreamResampler(48_000, 16_000).push(tone(11_000, 48_000, 1))
  expect(rms(resampled.subarray(200))).toBeLessThan(0.005)
})
