import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { FAMILIES } from '../catalogue/index.ts'
import { audioTokens, frameListTokens, imageTokens, VideoShapeError, videoTokens } from './index.ts'
import { roundHalfEven } from '../arithmetic/half-even.ts'

const golden = <T>(name: string): T[] =>
  JSON.parse(readFileSync(new URL(`../../testdata/golden/tokens/${name}.json`, import.meta.url), 'utf8'))
const rulesOf = (factor: number) => (factor === 32 ? FAMILIES.flash : FAMILIES.turbo).tokens

describe('media tokens equal the guide’s own functions', () => {
  it('images', () => {
    const rows = golden<[number, number, number, number]>('images')
    expect(rows.length).toBeGreaterThanOrEqual(300)
    for (const [factor, width, height, tokens] of rows) {
      expect(imageTokens(width, height, rulesOf(factor)), `${width}x${height} at ${factor}`).toBe(tokens)
    }
  })

  it('videos', () => {
    const rows = golden<[number, number, number, number, number, number | null]>('videos')
    expect(rows.length).toBeGreaterThanOrEqual(300)
    for (const [factor, width, height, totalFrames, framesPerSecond, tokens] of rows) {
      const count = () => videoTokens({ width, height, totalFrames, framesPerSecond }, rulesOf(factor))
      if (tokens === null) expect(count).toThrow(VideoShapeError)
      else expect(count(), `${width}x${height} ${totalFrames} at ${framesPerSecond}, ${factor}`).toBe(tokens)
    }
  })

  it('audio', () => {
    for (const [rate, seconds, tokens] of golden<[number, number, number]>('audio')) {
      const rules = rate === 25 ? FAMILIES.turbo.tokens : FAMILIES.flash.tokens
      expect(audioTokens(seconds, rules), `${seconds} s at ${rate}`).toBe(Math.ceil(tokens))
    }
  })

  it('frame lists count like videos of as many sampled frames', () => {
    // 60 frames at 30 a second are 2 seconds: 4 sampled frames.
    const file = videoTokens({ width: 640, height: 360, totalFrames: 60, framesPerSecond: 30 }, FAMILIES.flash.tokens)
    expect(frameListTokens(640, 360, 4, FAMILIES.flash.tokens)).toBe(file)
    expect(frameListTokens(640, 360, 3, FAMILIES.flash.tokens)).toBe(file)
  })

  it('rounds halves to even, as Python does', () => {
    expect([0.5, 1.5, 2.5, 2.4, 2.6].map(roundHalfEven)).toEqual([0, 2, 2, 2, 3])
  })
})
