import { describe, expect, it } from 'vitest'
import { secondsAhead, planStep, type RequestStatus } from './step-plan.ts'

/** The time of all steps here, milliseconds. */
const now = 100_000

const reading: RequestStatus = { canPrefill: true, canDecode: false }
const writing: RequestStatus = { canPrefill: false, canDecode: true }
/** Speech with so many seconds of audio that are not played yet. */
const speaking = (
  ahead: number,
  more: { canDecode?: boolean; paused?: boolean; canWork?: boolean } = {},
): RequestStatus => ({
  canPrefill: false,
  canDecode: more.canDecode ?? false,
  speech: {
    canWork: more.canWork ?? true,
    paused: more.paused ?? false,
    sentSeconds: 10 + ahead,
    firstSentAt: now - 10_000,
  },
})
const unheard: RequestStatus = {
  canPrefill: false,
  canDecode: true,
  speech: { canWork: true, paused: false, sentSeconds: 0, firstSentAt: undefined },
}

const pauseSpeech = (...statuses: RequestStatus[]): readonly boolean[] => planStep(statuses, now).pauseSpeech

it('counts what is sent and not played', () => {
  expect(secondsAhead({ sentSeconds: 4, firstSentAt: now - 1_000 }, now)).toBe(3)
  expect(secondsAhead({ sentSeconds: 4, firstSentAt: now - 6_000 }, now)).toBe(-2)
  expect(secondsAhead({ sentSeconds: 0, firstSentAt: undefined }, now)).toBeUndefined()
})

describe('speech that is well ahead', () => {
  it('goes on when nobody else can', () => {
    expect(pauseSpeech(speaking(9))).toEqual([false])
    expect(pauseSpeech(speaking(9), speaking(3))).toEqual([false, false])
    expect(pauseSpeech(speaking(9), speaking(0, { canWork: false }))).toEqual([false, false])
  })

  it('pauses for prompts, to text that is read as it comes, to first audio and to speech that is behind', () => {
    expect(pauseSpeech(speaking(1.6), reading)).toEqual([true, false])
    expect(pauseSpeech(speaking(1.6), writing)).toEqual([true, false])
    expect(pauseSpeech(speaking(1.6), unheard)).toEqual([true, false])
    expect(pauseSpeech(speaking(1.6), speaking(1.4), speaking(9))).toEqual([true, false, true])
    expect(pauseSpeech(speaking(1.4), reading)).toEqual([false, false])
  })

  it('does not yield to its own text, nor to that of speech as far ahead', () => {
    expect(pauseSpeech(speaking(1.6, { canDecode: true }))).toEqual([false])
    expect(pauseSpeech(speaking(1.6, { canDecode: true }), speaking(1.6, { canDecode: true }))).toEqual([false, false])
  })

  it('comes back only when there is less than a second left', () => {
    expect(pauseSpeech(speaking(1.2, { paused: true }), reading)).toEqual([true, false])
    expect(pauseSpeech(speaking(0.9, { paused: true }), reading)).toEqual([false, false])
  })
})

describe('a chunk of prompt', () => {
  const chunk = (...statuses: RequestStatus[]): number => planStep(statuses, now).maxChunkMs

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
