/** A sparse decoder layer by layer gives what it gives in one graph. */

import { afterAll, beforeAll, expect, it } from 'vitest'

import { largestDifference } from '../../../testing/golden.ts'
import { declareParameters, loadedParameters, type Parameters } from '../../nn/index.ts'
import { loadBackend, loadWeights, quantize, type Backend, type TensorType } from '../../tensor/index.ts'
import type { ThinkerInput, ThinkerOutput } from '../stages.ts'
import type { ThinkerConfig } from './config.ts'
import { Thinker, ThinkerModel } from './thinker.ts'

const config: ThinkerConfig = {
  layers: 4,
  hidden: 64,
  heads: 4,
  keyValueHeads: 2,
  headSize: 16,
  feedForward: 64,
  vocabulary: 96,
  context: 512,
  epsilon: 1e-6,
  queryKeyNorm: true,
  attentionBias: false,
  outputBias: false,
  rotaryBase: 10_000,
  rotarySections: [4, 2, 2],
  rotaryInterleaved: true,
  sparseLayers: [true, true, true, true],
  sparse: { experts: 8, used: 3, width: 32, renormalise: true, shared: 32 },
  tiedEmbeddings: false,
}

let backend: Backend

beforeAll(async () => {
  backend = await loadBackend({ device: 'cpu', threads: 2 })
})

afterAll(() => {
  expect(backend.memory.objects).toBe(0)
  backend[Symbol.dispose]()
})

/** Numbers between -1 and 1, the same for the same seed. */
function numbers(count: number, seed: number, scale = 1): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => scale * Math.sin(12.9898 * (i + 1) + 78.233 * (seed + 1)))
}

const construct = (parameters: Parameters): ThinkerModel => new ThinkerModel(parameters, config)

function positionsOf(from: number, tokens: number): Float32Array {
  return Float32Array.from({ length: 3 * tokens }, (_, i) => from + (i % tokens))
}

function idsOf(count: number, seed: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => (7 * i * i + 13 * seed + i) % config.vocabulary)
}

/** Two prompts in two chunks, one of them with features, then a token of each. */
async function conversation(thinker: Thinker): Promise<ThinkerOutput[]> {
  using first = thinker.newSequence(200)
  using second = thinker.newSequence(200)
  const chunk = (sequence: typeof first, count: number, seed: number): Omit<ThinkerInput, 'logits' | 'hidden'> => ({
    sequence,
    tokenIds: idsOf(count, seed),
    positions: positionsOf(sequence.length, count),
  })
  const features = {
    rows: Int32Array.of(2, 3, 9),
    embeddings: numbers(3 * config.hidden, 5),
    deepstack: [numbers(3 * config.hidden, 6), numbers(3 * config.hidden, 7)],
  }
  const outputs = await thinker.forward([
    { ...chunk(first, 30, 1), features, logits: 'none', hidden: true },
    { ...chunk(second, 11, 2), logits: 'all', hidden: false },
  ])
  outputs.push(...(await thinker.forward([{ ...chunk(first, 17, 3), logits: 'none', hidden: false }])))
  outputs.push(
    ...(await thinker.forward([
      { ...chunk(first, 1, 4), logits: 'last', hidden: true },
      { ...chunk(second, 40, 5), logits: 'last', hidden: true },
    ])),
  )
  return outputs
}

it.each(['f32', 'q4_0'] as const)('in %s', async (type) => {
  const sources = await Promise.all(
    declareParameters(construct).map(async ({ name, shape, use, precision }, i) => {
      const stored: TensorType = precision !== 'exact' && use === 'experts' ? type : 'f32'
      const count = shape.reduce((product, extent) => product * extent, 1)
      const values = /norm\d?\.weight$/.test(name)
        ? numbers(count, i, 0.1).map((value) => 1 + value)
        : numbers(count, i, 2 / Math.sqrt(shape[0]))
      return { name, type: stored, shape, use, source: await quantize(backend, stored, values, shape[0]) }
    }),
  )
  using weights = await loadWeights(backend, sources)
  const model = construct(loadedParameters(weights))
  const options = { cacheType: 'f32', capture: 2 } as const
  using whole = new Thinker(backend, model, { ...options, byLayersFrom: Infinity })
  using layered = new Thinker(backend, model, { ...options, byLayersFrom: 0 })
  const expected = await conversation(whole)
  const given = await conversation(layered)
  expect(given.map((output) => Object.keys(output).toSorted())).toEqual(
    expected.map((output) => Object.keys(output).toSorted()),
  )
  for (const [i, { logits, hidden }] of expected.entries()) {
    if (logits) expect(largestDifference(given[i]!.logits!, logits)).toBeLessThan(2e-5)
    if (hidden) expect(largestDifference(given[i]!.hidden!, hidden)).toBeLessThan(2e-5)
  }
  expect(Math.max(...expected[1]!.logits!)).toBeGreaterThan(0.1)
})

it('stops between layers when aborted', async () => {
  const declared = declareParameters(construct)
  using weights = await loadWeights(
    backend,
    declared.map(({ name, shape, use }, i) => {
      const count = shape.reduce((product, extent) => product * extent, 1)
      return { name, type: 'f32', shape, use, source: numbers(count, i, 0.1) }
    }),
  )
  using thinker = new Thinker(backend, construct(loadedParameters(weights)), { byLayersFrom: 0 })
  using sequence = thinker.newSequence(200)
  const controller = new AbortController()
  const run = thinker.forward(
    [{ sequence, tokenIds: idsOf(64, 1), positions: positionsOf(0, 64), logits: 'last', hidden: false }],
    controller.signal,
  )
  controller.abort(new Error('gone'))
  await expect(run).rejects.toThrow('gone')
  expect(sequence.length).toBe(0)
  const [output] = await thinker.forward([
    { sequence, tokenIds: idsOf(64, 1), positions: positionsOf(0, 64), logits: 'last', hidden: false },
  ])
  expect(output!.logits!.every(Number.isFinite)).toBe(true)
})
