/** A long prompt of speech goes through a sparse talker layer by layer, and gives what it gives in one graph. */

import { expect, it } from 'vitest'

import { largestDifference } from '../../../testing/golden.ts'
import { loadTinyModel } from '../../../testing/tiny-model.ts'
import { declareParameters, loadedParameters, type Parameters } from '../../nn/index.ts'
import { loadWeights } from '../../tensor/index.ts'
import { parseConfig } from './config.ts'
import { Talker, TalkerModel } from './talker.ts'
import type { TalkerOutput } from './speech/stages.ts'

it('layer by layer', async () => {
  using tiny = await loadTinyModel('tiny-moe')
  const config = parseConfig(tiny.config).speech!.talker
  expect(config.sparseLayers).not.toContain(false)
  const construct = (parameters: Parameters): TalkerModel => new TalkerModel(parameters, config)
  const numbers = (count: number, seed: number): Float32Array =>
    Float32Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * (seed + 1)))
  using weights = await loadWeights(
    tiny.backend,
    declareParameters(construct).map(({ name, shape, use }, i) => {
      const values = numbers(
        shape.reduce((product, extent) => product * extent, 1),
        i,
      )
      return { name, type: 'f32', shape, use, source: values.map((value) => value / Math.sqrt(shape[0])) }
    }),
  )
  const model = construct(loadedParameters(weights))
  const speak = async (byLayersFrom: number): Promise<TalkerOutput[]> => {
    using talker = new Talker(tiny.backend, model, { cacheType: 'f32', byLayersFrom })
    using first = talker.newSequence(64)
    using second = talker.newSequence(64)
    const step = (counts: readonly number[], seed: number): Promise<TalkerOutput[]> =>
      talker.forward(
        [first, second].map((sequence, i) => ({
          sequence,
          embeddings: numbers(counts[i]! * config.hidden, seed + i),
          positions: Float32Array.from({ length: 3 * counts[i]! }, (_, at) => sequence.length + (at % counts[i]!)),
        })),
      )
    return [...(await step([21, 9], 3)), ...(await step([1, 30], 5))]
  }
  const [expected, given] = [await speak(Infinity), await speak(0)]
  expect(given).toHaveLength(4)
  for (const [i, { logits, hidden }] of expected.entries()) {
    expect(largestDifference(given[i]!.logits, logits)).toBeLessThan(2e-5)
    expect(largestDifference(given[i]!.hidden, hidden)).toBeLessThan(2e-5)
  }
})
