import { describe, expect, it } from 'vitest'
import { secondsAhead, shareTurn, type Standing } from './fair-turns.ts'

/** The time of all turns here, milliseconds. */
const now = 100_000

const reading: Standing = { reads: true, writes: false }
const writing: Standing = { reads: false, writes: true }
/** Speech with so many seconds of audio that are not played yet. */
const speaking = (ahead: number, more: { writes?: boolean; yielded?: boolean; canWork?: boolean } = {}): Standing => ({
  reads: false,
  writes: more.writes ?? false,
  speech: {
    canWork: more.canWork ?? true,
    yielded: more.yielded ?? false,
    sentSeconds: 10 + ahead,
    firstSentAt: now - 10_000,
  },
})
const unheard: Standing = {
  reads: false,
  writes: true,
  speech: { canWork: true, yielded: false, sentSeconds: 0, firstSentAt: undefined },
}

const yields = (...standings: Standing[]): readonly boolean[] => shareTurn(standings, now).yields

it('counts what is sent and not played', () => {
  expect(secondsAhead({ sentSeconds: 4, firstSentAt: now - 1_000 }, now)).toBe(3)
  expect(secondsAhead({ sentSeconds: 4, firstSentAt: now - 6_000 }, now)).toBe(-2)
  expect(secondsAhead({ sentSeconds: 0, firstSentAt: undefined }, now)).toBeUndefined()
})

describe('speech that is well ahead', () => {
  it('goes on when nobody else can', () => {
    expect(yields(speaking(9))).toEqual([false])
    expect(yields(speaking(9), speaking(3))).toEqual([false, false])
    expect(yields(speaking(9), speaking(0, { canWork: false }))).toEqual([false, false])
  })

  it('yields to prompts, to text that is read as it comes, to first audio and to speech that is behind', () => {
    expect(yields(speaking(1.6), reading)).toEqual([true, false])
    expect(yields(speaking(1.6), writing)).toEqual([true, false])
    expect(yields(speaking(1.6), unheard)).toEqual([true, false])
    expect(yields(speaking(1.6), speaking(1.4), speaking(9))).toEqual([true, false, true])
    expect(yields(speaking(1.4), reading)).toEqual([false, false])
  })

  it('does not yield to its own text, nor to that of speech as far ahead', () => {
    expect(yields(speaking(1.6, { writes: true }))).toEqual([false])
    expect(yields(speaking(1.6, { writes: true }), speaking(1.6, { writes: true }))).toEqual([false, false])
  })

  it('comes back only when there is less than a second left', () => {
    expect(yields(speaking(1.2, { yielded: true }), reading)).toEqual([true, false])
    expect(yields(speaking(0.9, { yielded: true }), reading)).toEqual([false, false])
  })
})

describe('a chunk of prompt', () => {
  const chunk = (...standings: Standing[]): number => shareTurn(standings, now).chunkMilliseconds

  it('is long when nobody waits, though not without end', () => {
    expect(chunk(reading)).toBe(3000)
    expect(chunk(reading, reading)).toBe(3000)
    expect(chunk(reading, speaking(0.1, { canWork: false }))).toBe(3000)
  })

  it('is short beside text, first audio and speech that is behind', () => {
    expect(chunk(reading, writing)).toBe(250)
    expect(chunk(reading, unheard)).toBe(250)
    expect(chunk(reading, speaking(-3))).toBe(250)
    expect(chunk(reading, speaking(9), writing)).toBe(250)
  })

  it('takes what the nearest listener can spare, up to a second', () => {
    expect(chunk(reading, speaking(1.25))).toBe(750)
    expect(chunk(reading, speaking(1.25), speaking(9))).toBe(750)
    expect(chunk(reading, speaking(9))).toBe(1000)
  })
})
