import { describe, expect, it } from 'vitest'
import type { TurnDetection } from '../config.ts'
import { type TurnChange, TurnDetector } from './turn-detector.ts'

const detection: TurnDetection = {
  type: 'server',
  threshold: 0.5,
  prefixPaddingMs: 300,
  silenceMs: 800,
  createResponse: true,
  interruptResponse: true,
}
/** 32 ms each, in milliseconds for readability: 1000 samples a second. */
const changesOf = (probabilities: readonly number[], change: Partial<TurnDetection> = {}): TurnChange[] => {
  const detector = new TurnDetector({
    detection: { ...detection, ...change },
    sampleRate: 1000,
    windowSamples: 32,
    startsAt: 0,
  })
  return probabilities.flatMap((probability) => detector.push(probability) ?? [])
}
const windows = (count: number, probability: number): number[] => Array.from({ length: count }, () => probability)

describe('the turn detector', () => {
  it('opens with two windows of speech, padding before them, and closes after the silence', () => {
    const changes = changesOf([...windows(20, 0), ...windows(30, 0.9), ...windows(40, 0)])
    // Speech from 640 ms to 1600 ms; silence of 800 ms is complete with the window that ends at 2400 ms.
    expect(changes).toEqual([
      { type: 'start', at: 340 },
      { type: 'stop', at: 2400 },
    ])
  })

  it('takes neither a single window nor a short pause for a change', () => {
    expect(changesOf([...windows(5, 0), 0.9, ...windows(5, 0)])).toEqual([])
    const paused = changesOf([...windows(10, 0.9), ...windows(20, 0), ...windows(10, 0.9)])
    expect(paused.map(({ type }) => type)).toEqual(['start'])
  })

  it('counts as silence only what is well under the threshold', () => {
    expect(changesOf([...windows(10, 0.9), ...windows(60, 0.4)]).map(({ type }) => type)).toEqual(['start'])
    expect(changesOf([...windows(10, 0.9), ...windows(60, 0.3)]).map(({ type }) => type)).toEqual(['start', 'stop'])
  })

  it('takes thresholds below zero as the lowest', () => {
    expect(changesOf(windows(3, 0.05), { threshold: -1 })).toEqual([])
    expect(changesOf(windows(3, 0.2), { threshold: -1 })).toHaveLength(1)
  })

  it('waits longer after little speech in semantic mode', () => {
    const little = [...windows(10, 0.9), ...windows(40, 0)]
    expect(changesOf(little)).toHaveLength(2)
    expect(changesOf(little, { type: 'semantic' })).toHaveLength(1)
    expect(changesOf([...windows(30, 0.9), ...windows(40, 0)], { type: 'semantic' })).toHaveLength(2)
  })
})
