/**
 * What of an arriving audio holds when it grows louder, and what it costs. Over windows that say what they were given.
 */

import { expect, it } from 'vitest'
import { makeRequest } from '../../testing/requests.ts'
import { MemoryBudget } from '../models/memory-budget.ts'
import type { AudioWindows } from '../models/stages.ts'
import { logMel } from '../prompt/log-mel.ts'
import type { AudioFeature } from '../prompt/prepared-prompt.ts'
import { ArrivingAudio } from './arriving-audio.ts'

const config = { bands: 16, sampleRate: 16_000, hop: 160, fftLength: 400 }
const HIDDEN = 2
const signal = new AbortController().signal

/** Windows of 40 frames and two tokens, in chunks of 10. An output holds the sum of what it was made of. */
const windows: AudioWindows = {
  frames: 40,
  tokens: 2,
  chunkFrames: 10,
  chunk: async (mel) => Float32Array.of(sum(mel)),
  window: async (mel, chunks) => {
    chunks.forEach((chunk, index) => expect(chunk[0]).toBeCloseTo(sum(part(mel, 40, index * 10, 10)), 3))
    return new Float32Array(2 * HIDDEN).fill(sum(mel))
  },
}

function sum(values: Float32Array): number {
  return values.reduce((total, value) => total + value, 0)
}

function part(mel: Float32Array, frames: number, from: number, count: number): Float32Array {
  return Float32Array.from({ length: config.bands * count }, (_, at) => {
    return mel[Math.floor(at / count) * frames + from + (at % count)]!
  })
}

function tone(frames: number, volume: number): Float32Array {
  return Float32Array.from({ length: frames * 160 }, (_, at) => volume * Math.sin(at / 4) * Math.sin(at / 700))
}

function open(budget?: MemoryBudget): ArrivingAudio {
  return new ArrivingAudio({ name: 'new', request: makeRequest({}), prefills: true, features: config, windows, budget })
}

async function work(audio: ArrivingAudio, redo = false): Promise<void> {
  while (audio.levels.behind) audio.levels.advance(7)
  for (let next = audio.next; next; next = audio.next) await audio.encode(next, signal)
  for (let { stale } = audio; redo && stale; { stale } = audio) await audio.encode(stale, signal)
}

const featureOf = (samples: number): AudioFeature => ({
  type: 'audio',
  rows: Int32Array.from({ length: Math.ceil(samples / 160 / 20) }, (_, index) => 5 + index),
  frames: Math.floor(samples / 160),
  source: { contentKey: 'x', samples, padded: samples },
  load: () => Promise.reject(new Error('loaded')),
})

it('gives the parts that hold, and their rows the name', async () => {
  const audio = open()
  audio.append(tone(95, 0.5))
  await work(audio)
  expect(audio.validTokens(audio.levels.floor)).toBe(4)
  const feature = featureOf(95 * 160)
  const rows = audio.mark(feature.rows, 4)
  const finalized = audio.finalize(feature, 'key')!
  expect(rows).toMatchObject({ key: 'key', rows: Int32Array.of(5, 6, 7, 8) })
  const { mel } = await logMel(tone(95, 0.5), config)
  expect(await finalized.load()).toEqual(mel)
  for (const [number, from] of [0, 40].entries()) {
    expect(finalized.ahead!.window(from)![0]).toBeCloseTo(sum(part(mel, 95, from, 40)), 2)
    expect(audio.embeddings(4, HIDDEN)[number * 2 * HIDDEN]).toBe(finalized.ahead!.window(from)![0])
  }
  expect(finalized.ahead!.chunk(80)![0]).toBeCloseTo(sum(part(mel, 95, 80, 10)), 3)
  expect(finalized.ahead!.window(80)).toBeUndefined()
  expect(audio.finalize(featureOf(95 * 160 + 1), 'key')).toBeUndefined()
})

it('makes again what a louder frame changed, and holds what it did not', async () => {
  const audio = open()
  // Silence lies under any floor; a tone of even level over most.
  audio.append(Float32Array.of(...new Float32Array(40 * 160), ...tone(40, 0.01)))
  await work(audio, true)
  const feature = featureOf(160 * 160)
  const rows = audio.mark(feature.rows, 4)
  audio.prefilled = 4
  audio.append(tone(80, 0.9))
  await work(audio)
  expect(audio.stale?.from).toBe(0)
  expect(audio.validTokens(audio.levels.floor)).toBe(0)
  const stale = audio.stale!
  await audio.encode(stale, signal)
  expect(rows.rows.length).toBe(0)
  expect(audio.prefilled).toBe(0)
  await work(audio, true)
  expect(audio.stale).toBeUndefined()
  // The last frame waits for samples after it.
  expect(audio.validTokens(audio.levels.floor)).toBe(6)
  const finalized = audio.finalize(feature, 'key')!
  const mel = await finalized.load()
  expect(finalized.ahead!.window(120)).toBeUndefined()
  for (const from of [0, 40, 80]) {
    expect(finalized.ahead!.window(from)![0]).toBeCloseTo(sum(part(mel, 160, from, 40)), 1)
  }
})

it('gives nothing that does not hold in the end', async () => {
  const audio = open()
  audio.append(Float32Array.of(...new Float32Array(40 * 160), ...tone(40, 0.01)))
  await work(audio, true)
  const feature = featureOf(90 * 160)
  const rows = audio.mark(feature.rows, 4)
  audio.append(tone(10, 0.9))
  while (audio.levels.behind) audio.levels.advance(100)
  const finalized = audio.finalize(feature, 'key')!
  expect(finalized.ahead!.window(0)).toBeUndefined()
  expect(finalized.ahead!.chunk(0)).toBeUndefined()
  expect(rows).toMatchObject({ key: 'key', rows: new Int32Array() })
})

it('counts what it holds, and goes without it where memory is short', async () => {
  const budget = new MemoryBudget(50_000)
  const audio = open(budget)
  audio.append(tone(50, 0.5))
  await work(audio)
  expect(budget.used).toBe(audio.bytes)
  expect(budget.used).toBeGreaterThan(50 * 16 * 4)
  audio.append(tone(100, 0.5))
  expect(audio.dropped).toBe(true)
  expect(budget.used).toBe(0)
  const other = open(budget)
  other.append(tone(20, 0.5))
  await work(other)
  other.drop()
  expect(budget.used).toBe(0)
})
