/**
 * A converted file equals its checkpoint: every tiny checkpoint gives the same answers from its folder and from one
 * file.
 */

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeModel } from '../src/models/index.ts'
import { qwen3Omni } from '../src/models/qwen3-omni/model.ts'
import { createQwen3Prompt } from '../src/models/qwen3-omni/prompt/prompt-builder.ts'
import { type JsonObject, readCheckpointFiles } from '../src/prompt/checkpoint-files.ts'
import { type Backend, loadBackend } from '../src/tensor/index.ts'
import {
  checkMemory,
  convertCheckpoint,
  estimateMemory,
  loadParameters,
  openCheckpoint,
  type WeightTypeChoice,
} from '../src/weights/index.ts'
import { formulaCodes, formulaLogMel } from '../testing/formula-media.ts'
import { testdataPath } from '../testing/golden.ts'

let backend: Backend
let root: string
beforeAll(async () => {
  backend = await loadBackend({ device: 'cpu', threads: 1 })
  root = await mkdtemp(join(tmpdir(), 'omniserve-converted-'))
})
afterAll(async () => {
  backend[Symbol.dispose]()
  await rm(root, { recursive: true })
})

interface Answers {
  readonly tokenIds: readonly number[]
  readonly logits: Float32Array
  readonly encoded: Float32Array | undefined
  readonly waveform: Float32Array | undefined
}

async function answers(location: string, types?: WeightTypeChoice): Promise<Answers> {
  using checkpoint = await openCheckpoint(location)
  const files = await readCheckpointFiles(checkpoint)
  const description = qwen3Omni.read(files)
  const { naming } = description
  using weights = await loadParameters(backend, checkpoint, description.declarations, {
    naming,
    ...(types && { types }),
  })
  using model = description.build(backend, weights, { cacheType: 'f32' })
  const builder = createQwen3Prompt(files)
  const { tokenIds, positions } = await builder.prepare([
    { role: 'user', content: [{ type: 'text', text: 'The quick brown fox <|im_end|> grüßt 你好.' }] },
  ])
  using sequence = model.thinker.newSequence(256)
  const [output] = await model.thinker.forward([{ sequence, tokenIds, positions, logits: 'all', hidden: false }])
  using stream = model.code2wav?.newStream()
  const groups = model.speech?.config.codeGroups ?? 0
  let waveform: Float32Array | undefined
  if (stream !== undefined) {
    const first = await stream.push(formulaCodes(groups, 6, 32))
    waveform = Float32Array.from([...first, ...(await stream.finish())])
  }
  return {
    tokenIds: [...tokenIds],
    logits: output!.logits!,
    encoded: await model.audioEncoder?.encode(formulaLogMel(builder.config.audio.bands, 130), 130),
    waveform,
  }
}

/** Root mean square difference over root mean square. */
function drift(actual: Float32Array | undefined, wanted: Float32Array | undefined): number {
  if (actual === undefined || wanted === undefined) {
    expect(actual).toBe(wanted)
    return 0
  }
  expect(actual.length).toBe(wanted.length)
  let wrong = 0
  let all = 0
  for (const [i, value] of wanted.entries()) {
    wrong += (value - actual[i]!) ** 2
    all += value ** 2
  }
  return Math.sqrt(wrong / all)
}

async function convert(name: string, choice: WeightTypeChoice): Promise<string> {
  using checkpoint = await openCheckpoint(testdataPath(`checkpoints/${name}`))
  const { declarations, naming } = describeModel(checkpoint.config)
  const output = join(root, `${name}-${choice.type}.gguf`)
  const { bytes } = await convertCheckpoint(backend, checkpoint, declarations, { ...choice, naming, output })
  expect(bytes).toBeGreaterThan(estimateMemory(declarations, choice).weights)
  return output
}

describe.each(['tiny-moe', 'tiny-mixed', 'tiny-dense', 'tiny-thinker'])('%s', (name) => {
  it('gives the same answers from an f32 file as from its folder', async () => {
    const folder = await answers(testdataPath(`checkpoints/${name}`), { type: 'f32' })
    const file = await answers(await convert(name, { type: 'f32' }))
    expect(file.tokenIds).toEqual(folder.tokenIds)
    expect(drift(file.logits, folder.logits)).toBeLessThan(1e-6)
    expect(drift(file.encoded, folder.encoded)).toBeLessThan(1e-6)
    expect(drift(file.waveform, folder.waveform)).toBeLessThan(1e-6)
  })

  it('gives nearly the same answers from a q8_0 file', async () => {
    const exact = await answers(testdataPath(`checkpoints/${name}`), { type: 'f32' })
    const small = await answers(await convert(name, { type: 'q8_0' }))
    expect(drift(small.logits, exact.logits)).toBeLessThan(0.1)
    expect(drift(small.encoded, exact.encoded)).toBeLessThan(0.1)
    // Its snakes amplify small errors of random weights.
    expect(drift(small.waveform, exact.waveform)).toBeLessThan(0.3)
  })
})

describe('the published 30B-A3B', () => {
  it('fits 24 GB as q4_0, which larger types recommend', async () => {
    const config = JSON.parse(await readFile(testdataPath('qwen3-omni-30b-a3b/config.json'), 'utf8')) as JsonObject
    const { declarations } = describeModel(config)
    const bytes = (type: WeightTypeChoice['type']): number => estimateMemory(declarations, { type }).weights
    expect(bytes('bf16') / 1e9).toBeCloseTo(70.5, 0)
    expect(bytes('q4_0') / 1e9).toBeGreaterThan(19)
    expect(bytes('q4_0') / 1e9).toBeLessThan(22)
    expect(() => checkMemory({ weights: bytes('bf16'), working: 1e9 }, declarations, 'the-checkpoint', 23e9)).toThrow(
      /needs 71\.\d GB of memory .* 23\.0 GB is available: converted with --quantize q4_[0k] it would fit/,
    )
  })
})
