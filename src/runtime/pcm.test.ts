import { expect, it } from 'vitest'
import { toInt16 } from './pcm.ts'

it('rounds and clips', () => {
  expect(Array.from(toInt16(Float32Array.of(0, 1, -1, 0.5, 2, -2, NaN, -1.00002)))).toEqual([
    0, 32_767, -32_767, 16_384, 32_767, -32_768, 0, -32_768,
  ])
})
