import { expect, it } from 'vitest'
import { ArrivingSamples } from './arriving-samples.ts'

it.each([0, 3, 10, 64])('takes what comes, whatever was expected: %i', (expected) => {
  const arriving = new ArrivingSamples(expected)
  expect(arriving.empty).toBe(true)
  const samples = Float32Array.from({ length: 10 }, (_, index) => index / 10)
  const bytes = new Uint8Array(samples.buffer)
  // A piece may end inside a sample.
  for (const [from, until] of [
    [0, 7],
    [7, 8],
    [8, 40],
  ] as const)
    arriving.push(bytes.subarray(from, until))
  expect(arriving.empty).toBe(false)
  expect(arriving.pcm).toEqual({ sampleRate: 16_000, samples })
})
