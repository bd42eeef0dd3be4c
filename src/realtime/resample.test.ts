import { describe, expect, it } from 'vitest'
import { createResampler } from './resample.ts'

const sine = (hertz: number, rate: number, seconds: number): Float32Array =>
  Float32Array.from({ length: rate * seconds }, (_, index) => Math.sin((2 * Math.PI * hertz * index) / rate))

/** Signal over error of the middle of a resampled sine, in dB. */
function fidelity(hertz: number, from: number, to: number): number {
  const out = createResampler(from, to).push(sine(hertz, from, 1))
  const wanted = sine(hertz, to, 1)
  let signal = 0
  let error = 0
  for (let i = 500; i < out.length - 500; i += 1) {
    signal += wanted[i]! ** 2
    error += (wanted[i]! - out[i]!) ** 2
  }
  return 10 * Math.log10(signal / error)
}

describe('the resampler', () => {
  it.each([
    [440, 24_000, 16_000],
    [5000, 24_000, 16_000],
    [440, 8000, 16_000],
    [6000, 48_000, 16_000],
  ])('keeps %i Hz from %i to %i', (hertz, from, to) => {
    expect(fidelity(hertz, from, to)).toBeGreaterThan(60)
  })

  it('removes what the lower rate cannot hold', () => {
    const out = createResampler(24_000, 16_000).push(sine(10_000, 24_000, 1))
    expect(Math.max(...out.slice(500, -500).map(Math.abs))).toBeLessThan(0.01)
  })

  it('gives the same whatever the pieces', () => {
    const input = sine(700, 24_000, 1)
    const whole = createResampler(24_000, 16_000).push(input)
    const cut = createResampler(24_000, 16_000)
    const pieces: number[] = []
    for (let at = 0, step = 1; at < input.length; at += step, step = (step * 7 + 3) % 977) {
      pieces.push(...cut.push(input.subarray(at, at + step)))
      if (step === 0) step = 1
    }
    expect(Float32Array.from(pieces).slice(0, whole.length)).toEqual(whole)
  })

  it('passes equal rates through', () => {
    const input = sine(440, 16_000, 1)
    expect(createResampler(16_000, 16_000).push(input)).toBe(input)
  })
})
