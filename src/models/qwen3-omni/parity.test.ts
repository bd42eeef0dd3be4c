/**
 * Levels 3 and 4: every stage equals transformers in f32, and greedy codes and waveforms follow, for each tiny
 * checkpoint.
 *
 * The limit is 1e-4 for activations of order 1, on the CPU and on a GPU in exact precision. Goldens are made by
 * reference/omniserve_reference/make_model_goldens.py.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { formulaCodes, formulaLogMel, formulaPatches } from '../../../testing/formula-media.ts'
import { indexOfLargest, largestDifference, readGolden, signalToNoise, type Golden } from '../../../testing/golden.ts'
import { promptOf, type ModelFacts, type TinyConfig } from '../../../testing/model-goldens.ts'
import { loadTinyModel, tinyCheckpoints, type TinyModel } from '../../../testing/tiny-model.ts'
import { deviceLimit, exactDevice } from '../../tensor/test-device.ts'

/** The limit in half precision (docs/devices.md), for random weights with logits up to 10. */
const LIMIT = deviceLimit(1e-4, 0.15)
/** Share of codes that half precision may choose otherwise where two are almost equal. */
const OTHER_CODES = deviceLimit(0, 0.02)
const LEAST_DECIBELS = exactDevice ? 60 : 40

/** Largest differences by checkpoint and stage; printed when PARITY_TABLE is set (docs/parity.md). */
const results = new Map<string, Record<string, string>>()

afterAll(() => {
  if (process.env['PARITY_TABLE'] !== undefined) console.table(Object.fromEntries(results))
})

function expectClose(stage: string, actual: ArrayLike<number>, expected: ArrayLike<number>, where: string): void {
  const difference = largestDifference(actual, expected)
  const known = results.get(stage) ?? {}
  const checkpoint = where.split(' ', 1)[0] ?? ''
  known[checkpoint] = Math.max(difference, Number(known[checkpoint] ?? 0)).toExponential(1)
  results.set(stage, known)
  expect(difference, `${stage}: ${where}`).toBeLessThan(LIMIT)
}

describe.each(tinyCheckpoints)('%s', (name) => {
  let tiny: TinyModel
  let golden: Golden<ModelFacts>
  let config: TinyConfig

  beforeAll(async () => {
    tiny = await loadTinyModel(name)
    golden = await readGolden<ModelFacts>(name)
    config = tiny.config as unknown as TinyConfig
  })

  afterAll(() => {
    tiny[Symbol.dispose]()
  })

  it('audio encoder', async () => {
    const bins = config.thinker_config.audio_config.num_mel_bins
    for (const { frames } of golden.facts.audioEncoder) {
      const output = await tiny.model.audioEncoder?.encode(formulaLogMel(bins, frames), frames)
      expectClose('audio encoder', output ?? [], golden.floats(`audio-encoder.${frames}`), `${name} ${frames} frames`)
    }
  })

  it('audio encoder, two audio inputs in one request', async () => {
    const bins = config.thinker_config.audio_config.num_mel_bins
    const lengths = golden.facts.audioEncoderPair
    const parts: number[] = []
    for (const frames of lengths) {
      const output = await tiny.model.audioEncoder?.encode(formulaLogMel(bins, frames), frames, {
        longestFrames: Math.max(...lengths),
      })
      parts.push(...(output ?? []))
    }
    expectClose('audio encoder', parts, golden.floats('audio-encoder.pair'), `${name} pair`)
  })

  it('vision encoder and deepstack', async () => {
    const { patch_size: patch, temporal_patch_size: temporal } = config.thinker_config.vision_config
    for (const { grid } of golden.facts.visionEncoder) {
      const key = `vision-encoder.${grid.join('x')}`
      const patches = formulaPatches(grid[0] * grid[1] * grid[2], 3 * temporal * patch ** 2)
      const output = await tiny.model.visionEncoder?.encode(patches, grid)
      expectClose('vision encoder', output?.embeddings ?? [], golden.floats(key), `${name} ${key}`)
      for (const [i, features] of (output?.deepstack ?? []).entries())
        expectClose('deepstack', features, golden.floats(`${key}.deepstack.${i}`), `${name} ${key}`)
      expect(golden.has(`${key}.deepstack.${output?.deepstack.length}`)).toBe(false)
    }
  })

  it('thinker: prefill, every step, and the hidden states for the talker', async () => {
    const { thinker, talker } = tiny.model
    const [vocabulary, hidden] = [thinker.vocabSize, thinker.hiddenSize]
    for (const recorded of golden.facts.cases) {
      const key = `case.${recorded.name}`
      const prompt = promptOf(golden, recorded, config, hidden)
      using sequence = thinker.newSequence(prompt.tokenIds.length + recorded.textTokens.length)
      const speech = talker !== undefined
      let [output] = await thinker.forward([{ sequence, ...prompt, logits: 'all', hidden: speech }])
      const logits = golden.floats(`${key}.prefill-logits`)
      for (const [i, row] of recorded.prefillRows.entries()) {
        const actual = output?.logits?.subarray(row * vocabulary, (row + 1) * vocabulary) ?? []
        const expected = logits.subarray(i * vocabulary, (i + 1) * vocabulary)
        expectClose('thinker prefill logits', actual, expected, `${name} ${key} row ${row}`)
        if (exactDevice) expect(indexOfLargest(actual), `${key} row ${row}`).toBe(indexOfLargest(expected))
      }
      const states: number[] = [...(output?.hidden ?? [])]
      const steps = golden.floats(`${key}.step-logits`)
      let last: ArrayLike<number> = output?.logits?.subarray(-vocabulary) ?? []
      for (const [i, token] of recorded.textTokens.entries()) {
        const expected = steps.subarray(i * vocabulary, (i + 1) * vocabulary)
        expectClose('thinker step logits', last, expected, `${name} ${key} step ${i}`)
        if (exactDevice) expect(indexOfLargest(last), `${key} step ${i}`).toBe(token)
        if (i === recorded.textTokens.length - 1) break
        const position = recorded.nextPosition + i
        ;[output] = await thinker.forward([
          {
            sequence,
            tokenIds: Int32Array.of(token),
            positions: Float32Array.of(position, position, position),
            logits: 'last',
            hidden: speech,
          },
        ])
        last = output?.logits ?? []
        states.push(...(output?.hidden ?? []))
      }
      if (speech) {
        // Every fifth row is recorded.
        const rows = states.filter((_, i) => Math.floor(i / hidden) % 5 === 0)
        expectClose('hidden states for the talker', rows, golden.floats(`${key}.accept-hidden`), `${name} ${key}`)
      }
    }
  })

  it('talker and code predictor: every step, greedy codes equal', async () => {
    const { talker, codePredictor, thinker, speech } = tiny.model
    if (!talker || !codePredictor || !speech) return expect(name).toBe('tiny-thinker')
    const hidden = talker.hiddenSize
    const padding = await talker.projectText(await thinker.embed(Int32Array.of(speech.config.ttsPadTokenId)))
    for (const recorded of golden.facts.cases) {
      const key = `case.${recorded.name}`
      const ids = recorded.talkerIds ?? []
      const frames = ids.length - 1
      let [all, others] = [0, 0]
      const [logits, states] = [golden.floats(`${key}.talker-logits`), golden.floats(`${key}.talker-hidden`)]
      // The ids that can be sampled, and some beyond them.
      const recordedIds = logits.length / ids.length
      const trailing = golden.floats(`${key}.trailing-text`)
      using sequence = talker.newSequence(640)
      const step = async (embeddings: Float32Array, positions: Float32Array, at: number) => {
        const [output] = await talker.forward([{ sequence, embeddings, positions }])
        if (!output) throw new Error('the talker returned nothing')
        const wanted = logits.subarray(at * recordedIds, (at + 1) * recordedIds)
        expectClose('talker logits', output.logits.subarray(0, recordedIds), wanted, `${name} ${key} step ${at}`)
        const state = states.subarray(at * hidden, (at + 1) * hidden)
        expectClose('talker hidden', output.hidden, state, `${name} ${key} step ${at}`)
        return output
      }
      const prefillPositions = golden.floats(`${key}.talker-prefill-positions`)
      let output = await step(golden.floats(`${key}.talker-prefill`), prefillPositions, 0)
      for (let frame = 0; frame < frames; frame++) {
        const residual = golden.floats(`${key}.predictor-logits`)
        const groups = talker.codeGroups - 1
        const size = residual.length / frames / groups
        let group = 0
        const sample = (actual: Float32Array): number => {
          const at = (frame * groups + group++) * size
          expectClose('code predictor logits', actual, residual.subarray(at, at + size), `${name} ${key}`)
          const chosen = indexOfLargest(actual)
          const wanted = indexOfLargest(residual, at, at + size)
          all++
          if (chosen !== wanted) others++
          // The rest is compared with what follows transformers' choice.
          return exactDevice ? chosen : wanted
        }
        const [predicted] = await codePredictor.predict([{ hidden: output.hidden, firstCode: ids[frame] ?? 0, sample }])
        expect([ids[frame], ...(predicted?.codes ?? [])], key).toEqual(recorded.codes?.[frame])
        const text =
          frame < trailing.length / hidden ? trailing.subarray(frame * hidden, (frame + 1) * hidden) : padding
        const embeddings = Float32Array.from(predicted?.embeddingSum ?? [], (value, i) => value + (text[i] ?? 0))
        const steps = golden.floats(`${key}.talker-steps`).subarray(frame * hidden, (frame + 1) * hidden)
        expectClose('sum of code embeddings', embeddings, steps, `${name} ${key}`)
        const positions = golden.floats(`${key}.talker-step-positions`)
        output = await step(
          embeddings,
          Float32Array.from([0, 1, 2], (axis) => positions[axis * frames + frame] ?? 0),
          frame + 1,
        )
      }
      expect(others / Math.max(1, all), `${key}: other codes`).toBeLessThanOrEqual(OTHER_CODES)
    }
  })

  it('code2wav: whole decodes and the waveforms of the cases', async () => {
    const { code2wav } = tiny.model
    if (!code2wav) return expect(name).toBe('tiny-thinker')
    const { num_quantizers: groups, codebook_size: size } = config.code2wav_config
    for (const { frames } of golden.facts.code2wav ?? []) {
      using stream = code2wav.newStream()
      const wave = await stream.push(formulaCodes(groups, frames, size))
      expectClose('code2wav', wave, golden.waveform(`code2wav.${frames}`), `${name} ${frames} frames`)
    }
    for (const { name: recorded, codes } of golden.facts.cases) {
      if (!codes) continue
      using stream = code2wav.newStream()
      const wave = await stream.push(Int32Array.from(codes.flat()))
      const expected = golden.waveform(`case.${recorded}.waveform`)
      expectClose('code2wav', wave, expected, `${name} ${recorded}`)
      expect(signalToNoise(wave, expected), recorded).toBeGreaterThan(LEAST_DECIBELS)
    }
  })
})
