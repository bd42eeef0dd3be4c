/**
 * Speech streams beyond parity: seeds, aborts, misuse, several at once; and token2wav on quantised weights.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { readGolden, signalToNoise, testdataPath, type Golden } from '../../../../testing/golden.ts'
import { loadTinyToken2Wav, type TinyToken2Wav } from '../../../../testing/tiny-token2wav.ts'
import { readVoicesFile } from '../voices/read-voices.ts'
import type { Voice } from '../voices/voice.ts'
import { givenNoise, normalNoise } from './noise.ts'
import type { SpeechOptions } from './token2wav.ts'

const NAME = 'tiny-token2wav'

let tiny: TinyToken2Wav
let golden: Golden
let voices: ReadonlyMap<string, Voice>
let codes: Int32Array

beforeAll(async () => {
  tiny = await loadTinyToken2Wav(NAME)
  golden = await readGolden(NAME)
  voices = await readVoicesFile(testdataPath(`checkpoints/${NAME}/spk_dict.pt`))
  codes = golden.integers('codes')
})

afterAll(() => {
  tiny[Symbol.dispose]()
})

/** A reproducible generator of numbers in [0, 1). */
function uniform(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

function options(seed: number, voice = 'Chelsie'): SpeechOptions {
  const found = voices.get(voice)
  if (!found) throw new Error(`no voice ${voice}`)
  return {
    voice: found,
    noise: normalNoise(uniform(seed), tiny.config.dit.mels),
    settings: { solver: 'euler', points: 4, guidance: 0.5 },
    windowBlocks: [2],
  }
}

async function speak(given: SpeechOptions, count = codes.length, step = count): Promise<Float32Array> {
  using stream = tiny.stage.newStream(given)
  const samples: number[] = []
  for (let at = 0; at < count; at += step) samples.push(...(await stream.push(codes.subarray(at, Math.min(count, at + step)))))
  samples.push(...(await stream.finish()))
  return Float32Array.from(samples)
}

describe('a speech stream', () => {
  it('gives the right number of samples for any number of codes', async () => {
    for (const count of [1, 11, 12, 13, 36, 37, 71])
      expect(await speak(options(1), count)).toHaveLength(count * tiny.stage.samplesPerFrame)
    expect(await speak(options(1), 0)).toHaveLength(0)
  })

  it('gives its first samples after the codes of the first window and the next block', async () => {
    using stream = tiny.stage.newStream(options(1))
    const needed = tiny.stage.codesBeforeFirst({ windowBlocks: [2] })
    expect(needed).toBe(36)
    expect(await stream.push(codes.subarray(0, needed - 1))).toHaveLength(0)
    const { after } = tiny.stage.vocoder.model.context
    const first = await stream.push(codes.subarray(needed - 1, needed))
    expect(first).toHaveLength((48 - after) * tiny.stage.vocoder.model.hop)
  })

  it('gives the same samples with the same seed, and others with another seed or voice', async () => {
    const first = await speak(options(1))
    expect(await speak(options(1), codes.length, 5)).toEqual(first)
    expect(signalToNoise(await speak(options(2)), first)).toBeLessThan(20)
    expect(signalToNoise(await speak(options(1, 'Ethan')), first)).toBeLessThan(20)
  })

  it('differs slightly from the whole sequence, because it decodes windows', async () => {
    const noise = givenNoise(golden.floats('noise'), tiny.config.dit.mels)
    const settings = { solver: 'rk4', points: 10, guidance: 0.5 } as const
    const windowed = await speak({ ...options(1), noise, settings, windowBlocks: [3] })
    const ratio = signalToNoise(windowed, golden.floats('wave'))
    expect(ratio).toBeLessThan(90)
    expect(signalToNoise(windowed, golden.floats('windowed.wave.rk4.3'))).toBeGreaterThan(100)
  })

  it('concurrent streams give the same samples as single ones', async () => {
    const alone = [await speak(options(1)), await speak(options(2, 'Ethan'))]
    expect(await Promise.all([speak(options(1)), speak(options(2, 'Ethan'), codes.length, 9)])).toEqual(alone)
  })

  it('refuses invalid codes, and everything after them', async () => {
    using stream = tiny.stage.newStream(options(1))
    await expect(stream.push(Int32Array.of(41))).rejects.toThrow(/code 41 is none of token2wav's 0 to 40/)
    await expect(stream.push(codes)).rejects.toThrow(/broken/)
  })

  it('refuses invalid windows, too little noise, and codes after its end', async () => {
    for (const windowBlocks of [[], [0], [1.5], [-1], [Number.NaN]])
      expect(() => tiny.stage.newStream({ ...options(1), windowBlocks })).toThrow(/whole numbers of 1 at least/)
    const noise = givenNoise(new Float32Array(tiny.config.dit.mels * 10), tiny.config.dit.mels)
    await expect(speak({ ...options(1), noise })).rejects.toThrow(/noise of 10 frames is given, frame 72/)
    using stream = tiny.stage.newStream(options(1))
    await stream.finish()
    await expect(stream.push(codes)).rejects.toThrow(/finished/)
    stream[Symbol.dispose]()
    await expect(stream.finish()).rejects.toThrow(/disposed/)
  })

  it('stops with the reason of an aborted signal', async () => {
    const controller = new AbortController()
    using stream = tiny.stage.newStream({ ...options(1), settings: { solver: 'rk4', points: 30, guidance: 0.5 } })
    const pushed = stream.push(codes, { signal: controller.signal })
    setImmediate(() => controller.abort(new Error('the client went away')))
    await expect(pushed).rejects.toThrow('the client went away')
    await expect(stream.finish()).rejects.toThrow(/broken/)
    expect(await speak(options(1))).toHaveLength(codes.length * tiny.stage.samplesPerFrame)
  })

  it('refuses a voice of another model', async () => {
    const { voice } = options(1)
    await expect(speak({ ...options(1), voice: { ...voice, condition: new Float32Array(3) } })).rejects.toThrow(/cond has 3/)
    await expect(speak({ ...options(1), voice: { ...voice, referenceMel: new Float32Array(7) } })).rejects.toThrow(/not a mel of 20 bands/)
    const short = { ...voice, referenceMel: voice.referenceMel.slice(0, 40) }
    await expect(speak({ ...options(1), voice: short })).rejects.toThrow(/reference of 2 frames is too short/)
  })
})

describe('quantised weights', () => {
  it.each([
    ['bf16', 30],
    ['q8_0', 20],
  ] as const)('%s speak nearly the same', async (type, decibels) => {
    using other = await loadTinyToken2Wav(NAME, type)
    const { voice, noise } = { voice: options(1).voice, noise: golden.floats('noise') }
    const settings = { solver: 'euler', points: 10, guidance: 0.5 } as const
    const prepared = await other.stage.sampler.prepareVoice(voice.referenceMel, voice.condition)
    const mel = await other.stage.sampler.sample({ codes, noise, voice: prepared, settings })
    const exact = golden.floats('mel.euler.10.0.5')
    expect(signalToNoise(mel, exact)).toBeGreaterThan(decibels)
    const frames = mel.length / tiny.config.dit.mels
    const wave = await other.stage.vocoder.decode({ mel: golden.floats('mel.rk4.10.0.5'), frames, before: 0, after: 0 })
    expect(signalToNoise(wave, golden.floats('wave'))).toBeGreaterThan(decibels)
  })
})
