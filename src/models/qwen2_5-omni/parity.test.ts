/**
 * Levels 3 and 4: every stage equals transformers in f32, and greedy text and codes follow, for each tiny checkpoint.
 *
 * The limit is 1e-4 for activations of order 1. Goldens are made by
 * reference/omniserve_reference/qwen2_5/make_model_goldens.py; token2wav's parts have a test of their own.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { formulaLogMel, formulaNoise, formulaPatches } from '../../../testing/formula-media.ts'
import {
  indexOfLargest,
  largestDifference,
  readGolden,
  signalToNoise,
  testdataPath,
  type Golden,
} from '../../../testing/golden.ts'
import {
  qwen25Prompt,
  ROW_STEP,
  sampledRows,
  type Qwen25Case,
  type Qwen25Facts,
  type Tiny25Config,
} from '../../../testing/qwen25-goldens.ts'
import { loadTiny25Model, tiny25Checkpoints, type TinyModel } from '../../../testing/tiny-model.ts'
import type { Qwen25OmniModel } from './model.ts'
import { givenNoise } from './token2wav/noise.ts'
import { readVoicesFile } from './voices/read-voices.ts'

const LIMIT = 1e-4

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

describe.each(tiny25Checkpoints)('%s', (name) => {
  let tiny: TinyModel<Qwen25OmniModel>
  let golden: Golden<Qwen25Facts>
  let config: Tiny25Config

  beforeAll(async () => {
    tiny = await loadTiny25Model(name)
    golden = await readGolden<Qwen25Facts>(name)
    config = tiny.config as unknown as Tiny25Config
  })

  afterAll(() => {
    tiny[Symbol.dispose]()
  })

  it('audio encoder', async () => {
    const { audioEncoder, thinker } = tiny.model
    const bins = config.thinker_config.audio_config.num_mel_bins
    for (const { frames, tokens, rowStep } of golden.facts.audioEncoder) {
      const output = await audioEncoder.encode(formulaLogMel(bins, frames), frames)
      expect(output.length).toBe(tokens * thinker.hiddenSize)
      const rows = sampledRows(output, thinker.hiddenSize, rowStep)
      expectClose('audio encoder', rows, golden.floats(`audio-encoder.${frames}`), `${name} ${frames} frames`)
    }
    const pair: number[] = []
    for (const frames of golden.facts.audioEncoderPair)
      pair.push(...(await audioEncoder.encode(formulaLogMel(bins, frames), frames)))
    expectClose('audio encoder', pair, golden.floats('audio-encoder.pair'), `${name} pair`)
  })

  it('vision encoder', async () => {
    const { patch_size: patch, temporal_patch_size: temporal } = config.thinker_config.vision_config
    for (const { grid } of golden.facts.visionEncoder) {
      const patches = formulaPatches(grid[0] * grid[1] * grid[2], 3 * temporal * patch ** 2)
      const { embeddings, deepstack } = await tiny.model.visionEncoder.encode(patches, grid)
      const key = `vision-encoder.${grid.join('x')}`
      expectClose('vision encoder', embeddings, golden.floats(key), `${name} ${key}`)
      expect(deepstack).toEqual([])
    }
  })

  it('thinker: prefill, every step, and the hidden states for the talker', async () => {
    const { thinker, talker } = tiny.model
    const [vocabulary, hidden] = [thinker.vocabSize, thinker.hiddenSize]
    for (const recorded of golden.facts.cases) {
      const key = `case.${recorded.name}`
      const prompt = qwen25Prompt(golden, recorded, config)
      using sequence = thinker.newSequence(prompt.tokenIds.length + recorded.textTokens.length)
      const speech = talker !== undefined
      let [output] = await thinker.forward([{ sequence, ...prompt, logits: 'all', hidden: speech }])
      const logits = golden.floats(`${key}.prefill-logits`)
      for (const [i, row] of recorded.prefillRows.entries()) {
        const actual = output?.logits?.subarray(row * vocabulary, (row + 1) * vocabulary) ?? []
        const expected = logits.subarray(i * vocabulary, (i + 1) * vocabulary)
        expectClose('thinker prefill logits', actual, expected, `${name} ${key} row ${row}`)
        expect(indexOfLargest(actual), `${key} row ${row}`).toBe(indexOfLargest(expected))
      }
      const states: number[] = [...(output?.hidden ?? [])]
      const steps = golden.floats(`${key}.step-logits`)
      let last: ArrayLike<number> = output?.logits?.subarray(-vocabulary) ?? []
      for (const [i, token] of recorded.textTokens.entries()) {
        const expected = steps.subarray(i * vocabulary, (i + 1) * vocabulary)
        expectClose('thinker step logits', last, expected, `${name} ${key} step ${i}`)
        expect(indexOfLargest(last), `${key} step ${i}`).toBe(token)
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
        const rows = sampledRows(states, hidden, ROW_STEP)
        expectClose('hidden states for the talker', rows, golden.floats(`${key}.hidden`), `${name} ${key}`)
      }
    }
  })

  it('talker: every step, from the rows that transformers fed it', async () => {
    const { talker } = tiny.model
    if (!talker) return expect(name).toBe('tiny25-thinker')
    const width = talker.inputWidth
    for (const recorded of golden.facts.cases) {
      const key = `case.${recorded.name}`
      const logits = golden.floats(`${key}.talker-logits`)
      const size = talker.vocabSize
      using sequence = talker.newSequence(4096)
      const rows = await talkerPrompt(name, tiny, golden, recorded, config)
      const recordedRows = golden.floats(`${key}.talker-prefill`)
      expectClose('talker rows', sampledRows(rows, width, ROW_STEP), recordedRows, `${name} ${key}`)
      const lastRows = golden.floats(`${key}.talker-prefill-last`)
      expectClose('talker rows', rows.subarray(-2 * width), lastRows, `${name} ${key}`)
      let positions = Float32Array.from(golden.integers(`${key}.talker-prefill-positions`))
      let [output] = await talker.forward([{ sequence, rows, positions }])
      const steps = (recorded.talkerIds ?? []).length
      for (let at = 0; at < steps; at++) {
        const wanted = logits.subarray(at * size, (at + 1) * size)
        expectClose('talker logits', output ?? [], wanted, `${name} ${key} step ${at}`)
        if (at === steps - 1) break
        const all = golden.integers(`${key}.talker-step-positions`)
        positions = Float32Array.from([0, 1, 2], (axis) => all[axis * (steps - 1) + at] ?? 0)
        const row = golden.floats(`${key}.talker-steps`).slice(at * width, (at + 1) * width)
        ;[output] = await talker.forward([{ sequence, rows: row, positions }])
      }
    }
  })

  it('token2wav: the waveforms of the cases, from the same noise', async () => {
    const { token2wav, speech } = tiny.model
    if (!token2wav || !speech) return expect(name).toBe('tiny25-thinker')
    const voices = await readVoicesFile(testdataPath(`checkpoints/${name}/spk_dict.pt`))
    expect(speech.speakers).toEqual([...voices.keys()].map((voice) => voice.toLowerCase()))
    for (const { name: recorded, speaker, codes } of golden.facts.cases) {
      const [bands = 0, frames = 0] = golden.shape(`case.${recorded}.mel`)
      const voice = voices.get(speaker ?? '')
      if (!voice || !codes) throw new Error(`${recorded} has no voice`)
      using stream = token2wav.newStream({
        voice,
        noise: givenNoise(formulaNoise(frames, bands, 1), bands),
        settings: { solver: 'rk4', points: 10, guidance: 0.5 },
        windowBlocks: [Infinity],
      })
      expect(await stream.push(Int32Array.from(codes))).toHaveLength(0)
      const wave = await stream.finish()
      const expected = golden.waveform(`case.${recorded}.waveform`)
      expectClose('waveform', wave, expected, `${name} ${recorded}`)
      expect(signalToNoise(wave, expected), recorded).toBeGreaterThan(60)
    }
  })
})

/**
 * The talker's prompt by the rules of the family, with the thinker recomputed: embedding (none at media) and hidden
 * state of each prompt token, the voice, the first reply token.
 */
async function talkerPrompt(
  folder: string,
  { model, config: json }: TinyModel<Qwen25OmniModel>,
  golden: Golden<Qwen25Facts>,
  recorded: Qwen25Case,
  config: Tiny25Config,
): Promise<Float32Array> {
  const { thinker, talker } = model
  if (!talker) throw new Error('no talker')
  const prompt = qwen25Prompt(golden, recorded, config)
  using sequence = thinker.newSequence(prompt.tokenIds.length + 1)
  const [read] = await thinker.forward([{ sequence, ...prompt, logits: 'none', hidden: true }])
  const first = Int32Array.of(recorded.textTokens[0] ?? 0)
  const at = recorded.nextPosition
  const positions = Float32Array.of(at, at, at)
  const [next] = await thinker.forward([{ sequence, tokenIds: first, positions, logits: 'none', hidden: true }])
  const hidden = [...(read?.hidden ?? []), ...(next?.hidden ?? [])]
  const embeddings = await thinker.embed(prompt.tokenIds)
  const width = thinker.hiddenSize
  for (const row of prompt.features?.rows ?? []) embeddings.fill(0, row * width, (row + 1) * width)
  const { talker_config: ids } = json as { talker_config: Record<string, number> }
  const codec = await talker.embed(
    Int32Array.of(ids['tts_codec_pad_token_id'] ?? 0, ids['tts_codec_start_token_id'] ?? 0),
  )
  const voiceToken = new Map(
    [...(await readVoicesFile(testdataPath(`checkpoints/${folder}/spk_dict.pt`))).values()].map((voice) => [
      voice.name,
      voice.bosToken,
    ]),
  ).get(recorded.speaker ?? '')
  const voice = await thinker.embed(Int32Array.of(voiceToken ?? -1))
  const own = await thinker.embed(first)
  const rows = embeddings.map((value, i) => value + (hidden[i] ?? 0))
  return Float32Array.from([
    ...rows,
    ...voice.map((value, i) => value + (codec[i] ?? 0)),
    ...own.map((value, i) => value + (hidden[embeddings.length + i] ?? 0) + (codec[width + i] ?? 0)),
  ])
}
