/**
 * Token2wav equals transformers in f32: each stage within 1e-4, whole sequences and windows to 60 dB and better.
 *
 * Goldens are made by reference/omniserve_reference/make_token2wav_goldens.py.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { largestDifference, readGolden, signalToNoise, type Golden } from '../../../../testing/golden.ts'
import { loadTinyToken2Wav, tinyToken2Wavs, type TinyToken2Wav } from '../../../../testing/tiny-token2wav.ts'
import { readVoicesFile } from '../voices/read-voices.ts'
import { testdataPath } from '../../../../testing/golden.ts'
import type { Voice } from '../voices/voice.ts'
import type { SolverSettings } from './mel-sampler.ts'
import { givenNoise } from './noise.ts'
import type { SolverName } from './solver.ts'

const LIMIT = 1e-4
const REFERENCE: SolverSettings = { solver: 'rk4', points: 10, guidance: 0.5 }

interface Facts {
  readonly time: number
  readonly voice: string
  readonly runs: readonly SolverSettings[]
  readonly windows: readonly { readonly key: string; readonly solver: SolverName; readonly blocks: readonly number[] }[]
  readonly voices: Readonly<
    Record<string, { readonly bosToken: number; readonly cond: readonly number[]; readonly frames: number; readonly refMelSum: number }>
  >
}

/** Largest differences and signal to noise by stage; printed when PARITY_TABLE is set (docs/parity.md). */
const results = new Map<string, Record<string, string>>()

afterAll(() => {
  if (process.env['PARITY_TABLE'] !== undefined) console.table(Object.fromEntries(results))
})

function record(stage: string, checkpoint: string, value: string): void {
  results.set(stage, { ...results.get(stage), [checkpoint]: value })
}

describe.each(tinyToken2Wavs)('%s', (name) => {
  let tiny: TinyToken2Wav
  let golden: Golden<Facts>
  let voices: ReadonlyMap<string, Voice>
  let voice: Voice
  let codes: Int32Array
  let noise: Float32Array

  beforeAll(async () => {
    tiny = await loadTinyToken2Wav(name)
    golden = await readGolden<Facts>(name)
    voices = await readVoicesFile(testdataPath(`checkpoints/${name}/spk_dict.pt`))
    const found = voices.get(golden.facts.voice)
    if (!found) throw new Error(`no voice ${golden.facts.voice}`)
    voice = found
    codes = golden.integers('codes')
    noise = golden.floats('noise')
  })

  afterAll(() => {
    tiny[Symbol.dispose]()
  })

  function expectClose(stage: string, actual: Float32Array, expected: Float32Array): void {
    const difference = largestDifference(actual, expected)
    record(stage, name, difference.toExponential(1))
    expect(difference, stage).toBeLessThan(LIMIT)
  }

  function expectAlike(stage: string, actual: Float32Array, expected: Float32Array, decibels = 60): void {
    const ratio = signalToNoise(actual, expected)
    record(stage, name, `${ratio.toFixed(0)} dB, ${largestDifference(actual, expected).toExponential(1)}`)
    expect(ratio, stage).toBeGreaterThan(decibels)
  }

  it('reads the voices', () => {
    const { facts } = golden
    expect([...voices.keys()].toSorted()).toEqual(Object.keys(facts.voices).toSorted())
    for (const [key, expected] of Object.entries(facts.voices)) {
      const read = voices.get(key)
      expect(read?.bosToken).toBe(expected.bosToken)
      expect(read?.referenceFrames).toBe(expected.frames)
      expect(largestDifference(read?.condition ?? [], expected.cond)).toBeLessThan(1e-7)
      const sum = (read?.referenceMel ?? new Float32Array()).reduce((total, value) => total + value, 0)
      expect(sum).toBeCloseTo(expected.refMelSum, 2)
    }
  })

  it('speaker encoder', async () => {
    for (const [key, { referenceMel }] of voices) {
      expectClose('speaker encoder', await tiny.stage.sampler.encodeSpeaker(referenceMel), golden.floats(`speaker.${key}`))
    }
    const silence = new Float32Array(voice.referenceMel.length)
    expectClose('speaker encoder, zeros', await tiny.stage.sampler.encodeSpeaker(silence), golden.floats('speaker.zeros'))
  })

  it('one velocity', async () => {
    const { sampler } = tiny.stage
    const prepared = await sampler.prepareVoice(voice.referenceMel, voice.condition)
    const window = { codes, noise, voice: prepared, settings: REFERENCE }
    const [guided, free] = await sampler.velocity(window, golden.facts.time)
    const expected = golden.floats('velocity')
    expectClose('velocity', guided ?? new Float32Array(), expected.subarray(0, noise.length))
    expectClose('velocity, unguided', free ?? new Float32Array(), expected.subarray(noise.length))
  })

  it('mel of a whole sequence, by each solver', async () => {
    const { sampler } = tiny.stage
    const prepared = await sampler.prepareVoice(voice.referenceMel, voice.condition)
    for (const settings of golden.facts.runs) {
      const mel = await sampler.sample({ codes, noise, voice: prepared, settings })
      const { solver, points, guidance } = settings
      const key = `mel.${solver}.${points}.${guidance}`
      expectAlike(`mel, ${solver}, ${points} times, guidance ${guidance}`, mel, golden.floats(key))
    }
  })

  it('samples of a mel, whole and in pieces of any size', async () => {
    const { vocoder } = tiny.stage
    const { mels } = tiny.config.dit
    const mel = golden.floats('mel.rk4.10.0.5')
    const frames = mel.length / mels
    const expected = golden.floats('wave')
    const whole = { mel, frames, before: 0, after: 0 }
    expectAlike('samples', await vocoder.decode(whole), expected, 80)
    const short = { ...whole, mel: mel.slice(0, 5 * mels), frames: 5 }
    expectAlike('samples of five frames', await vocoder.decode(short), golden.floats('wave.short'), 80)
    const { before, after } = vocoder.model.context
    for (const size of [1, 7, 50]) {
      const from = Math.min(before + 3, frames - size)
      const first = Math.max(0, from - before)
      const last = Math.min(frames, from + size + after)
      const piece = await vocoder.decode({
        mel: mel.slice(first * mels, last * mels),
        frames: size,
        before: from - first,
        after: last - from - size,
      })
      const { hop } = vocoder.model
      expectClose('samples of a piece', piece, expected.subarray(from * hop, (from + size) * hop))
    }
  })

  it('a whole sequence in one window', async () => {
    using stream = tiny.stage.newStream({
      voice,
      noise: givenNoise(noise, tiny.config.dit.mels),
      settings: REFERENCE,
      windowBlocks: [Number.POSITIVE_INFINITY],
    })
    expect(await stream.push(codes)).toHaveLength(0)
    expectAlike('speech, whole', await stream.finish(), golden.floats('wave'))
  })

  it('windows, against the same windows of transformers, however the codes come', async () => {
    const { mels } = tiny.config.dit
    for (const { key, solver, blocks } of golden.facts.windows) {
      for (const step of [codes.length, 7]) {
        using stream = tiny.stage.newStream({
          voice,
          noise: givenNoise(noise, mels),
          settings: { ...REFERENCE, solver },
          windowBlocks: blocks,
        })
        const samples: number[] = []
        for (let at = 0; at < codes.length; at += step) samples.push(...(await stream.push(codes.subarray(at, at + step))))
        expect(samples.length).toBeGreaterThan(0)
        samples.push(...(await stream.finish()))
        // Windows differ from the whole sequence by 60 to 80 dB here, so the limit must be close to that.
        expectAlike(`speech, windows ${key}`, Float32Array.from(samples), golden.floats(`windowed.wave.${key}`), 100)
      }
    }
  })
})
