import { expect, it } from 'vitest'
import { SampleBuffer } from './sample-buffer.ts'

it.each([0, 3, 10, 64])('keeps every sample when %i are expected and 10 arrive', (expected) => {
  const buffer = new SampleBuffer(expected)
  expect(buffer.empty).toBe(true)
  const samples = Float32Array.from({ length: 10 }, (_, index) => index / 10)
  const bytes = new Uint8Array(samples.buffer)
  // A piece may end inside a sample.
  for (const [from, until] of [
    [0, 7],
    [7, 8],
    [8, 40],
  ] as const)
    buffer.push(bytes.subarray(from, until))
  expect(buffer.empty).toBe(false)
  expect(buffer.pcm).toEqual({ sampleRate: 16_000, samples })
})
