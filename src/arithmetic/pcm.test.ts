import { expect, it } from 'vitest'
import { joinPcm, PcmReader, toFloat32, toInt16 } from './pcm.ts'

it('rounds and clips', () => {
  expect(Array.from(toInt16(Float32Array.of(0, 1, -1, 0.5, 2, -2, NaN, -1.00002)))).toEqual([
    0, 32_767, -32_767, 16_384, 32_767, -32_768, 0, -32_768,
  ])
})

it('gives back the floats that 16 bits hold', () => {
  expect([...toFloat32(Int16Array.of(0, 16_384, -32_768, 32_767))]).toEqual([0, 0.5, -1, Math.fround(32_767 / 32_768)])
})

it('reads bytes in pieces, whole samples or not', () => {
  const samples = Int16Array.of(0, -2, 32_767, -32_768, 5)
  const bytes = new Uint8Array(samples.buffer)
  for (let first = 0; first <= bytes.length; first += 1)
    for (let second = first; second <= bytes.length; second += 1) {
      const reader = new PcmReader()
      const pieces = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)]
      expect(joinPcm(pieces.map((piece) => reader.read(piece)))).toEqual(samples)
    }
})
