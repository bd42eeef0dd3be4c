/**
 * As many sequences in one step as the API server admits: the graph has capacity for each, and results equal those of
 * single sequences.
 */

import { afterAll, beforeAll, expect, it } from 'vitest'

import { largestDifference } from '../../../testing/golden.ts'
import { withScheduler } from '../../../testing/scheduled-backend.ts'
import { loadTinyModel, type TinyModel } from '../../../testing/tiny-model.ts'
import { declareParameters, loadedParameters, type Parameters } from '../../nn/index.ts'
import { loadWeights, type Backend } from '../../tensor/index.ts'
import { parseConfig } from './config.ts'
import { Thinker, ThinkerModel } from '../decoder/thinker.ts'

const MANY = 64

let tiny: TinyModel

beforeAll(async () => {
  tiny = await loadTinyModel('tiny-moe')
})

afterAll(async () => {
  // Sequences are released in the backend's queue.
  await tiny.model.thinker.embed(Int32Array.of(0))
  tiny[Symbol.dispose]()
})

it('the thinker runs a step of many sequences at once', async () => {
  const { thinker } = tiny.model
  using stack = new DisposableStack()
  const first = {
    tokenIds: Int32Array.of(65),
    positions: Float32Array.of(0, 0, 0),
    logits: 'last',
    hidden: false,
  } as const
  using alone = thinker.newSequence(8)
  const [wanted] = await thinker.forward([{ sequence: alone, ...first }])
  const outputs = await thinker.forward(
    Array.from({ length: MANY }, () => ({ sequence: stack.use(thinker.newSequence(8)), ...first })),
  )
  expect(outputs).toHaveLength(MANY)
  for (const { logits } of outputs) expect(largestDifference(logits!, wanted!.logits!)).toBeLessThan(2e-5)
})

it('the talker runs a step of many sequences at once', async () => {
  const talker = tiny.model.talker!
  using stack = new DisposableStack()
  const embeddings = Float32Array.from({ length: talker.hiddenSize }, (_, i) => Math.sin(i))
  const first = { embeddings, positions: Float32Array.of(0, 0, 0) }
  using alone = talker.newSequence(8)
  const [wanted] = await talker.forward([{ sequence: alone, ...first }])
  const outputs = await talker.forward(
    Array.from({ length: MANY }, () => ({ sequence: stack.use(talker.newSequence(8)), ...first })),
  )
  expect(outputs).toHaveLength(MANY)
  for (const { logits } of outputs) expect(largestDifference(logits, wanted!.logits)).toBeLessThan(2e-5)
})

/** One step of many sequences through 48 layers of random weights; the logits of each. */
async function deepStep(backend: Backend): Promise<Float32Array[]> {
  const { thinker: shallow } = parseConfig(tiny.config)
  const layers = 48
  const config = { ...shallow, layers, sparseLayers: Array.from({ length: layers }, () => false) }
  const construct = (parameters: Parameters): ThinkerModel => new ThinkerModel(parameters, config)
  using weights = await loadWeights(
    backend,
    declareParameters(construct).map(({ name, shape, use }) => ({
      name,
      type: 'f32',
      shape,
      use,
      source: Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(i * 1.7 + name.length) / 8),
    })),
  )
  using thinker = new Thinker(backend, construct(loadedParameters(weights)), { cacheType: 'f32' })
  using stack = new DisposableStack()
  const outputs = await thinker.forward(
    Array.from({ length: MANY }, (_, i) => ({
      sequence: stack.use(thinker.newSequence(8)),
      tokenIds: Int32Array.of(65 + (i % 2)),
      positions: Float32Array.of(0, 0, 0),
      logits: 'last',
      hidden: false,
    })),
  )
  return outputs.map(({ logits }) => logits!)
}

it('the scheduler of a GPU accepts the graph of many sequences and layers', async () => {
  const alone = await deepStep(tiny.backend)
  using scheduled = withScheduler(tiny.backend)
  const logits = await deepStep(scheduled.backend)
  expect(logits).toEqual(alone)
  expect(logits[2]).toEqual(logits[0])
  expect(largestDifference(logits[1]!, logits[0]!)).toBeGreaterThan(1e-3)
})
