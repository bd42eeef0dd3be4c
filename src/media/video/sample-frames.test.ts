import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { sampledFrameCount } from '../../arithmetic/frame-count.ts'
import { sampledFrameIndices } from './sample-frames.ts'

interface Golden {
  total: number
  fps: number
  max: number
  count: number | null
  indices?: number[]
  sum?: number
}

/** Results of the guide's `smart_nframes` and `torch.linspace(...).round()` in Python. */
const goldens = JSON.parse(
  readFileSync(new URL('../../../testdata/media/frame-sampling.json', import.meta.url), 'utf8'),
) as Golden[]

describe('frame sampling', () => {
  it.each(goldens)(
    'of $total frames at $fps fps, at most $max, equals the reference',
    ({ total, fps, max, count, indices, sum }) => {
      const actual = sampledFrameCount(total, fps, { fps: 2, minFrames: 4, maxFrames: max })
      expect(actual ?? null).toBe(count)
      if (actual === undefined) return
      const picked = sampledFrameIndices(total, actual)
      if (indices !== undefined) expect(picked).toEqual(indices)
      if (sum !== undefined) expect(picked.reduce((a, b) => a + b, 0)).toBe(sum)
      expect(picked[0]).toBe(0)
      expect(picked.at(-1)).toBe(total - 1)
    },
  )

  it('refuses videos of half a second and of a single frame', () => {
    const sampling = { fps: 2, minFrames: 4, maxFrames: 128 }
    expect(sampledFrameCount(15, 30, sampling)).toBeUndefined()
    expect(sampledFrameCount(1, 0.1, sampling)).toBeUndefined()
    expect(sampledFrameCount(16, 30, sampling)).toBe(4)
  })

  it('takes more frames at a higher rate', () => {
    expect(sampledFrameCount(100, 25, { fps: 4, minFrames: 4, maxFrames: 128 })).toBe(16)
    expect(sampledFrameCount(100, 25, { fps: 10, minFrames: 4, maxFrames: 20 })).toBe(20)
  })
})
