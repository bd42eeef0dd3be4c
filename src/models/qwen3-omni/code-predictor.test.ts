import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { loadTinyModel, type TinyModel } from '../../../testing/tiny-model.ts'
import { createRandom } from '../../sampling/random.ts'
import { createSampler, type Draw, type Sampler } from '../../sampling/sampler.ts'
import { buildGraph, loadBackend } from '../../tensor/index.ts'
import { sampleInGraph } from './sample-in-graph.ts'

const draws: readonly Draw[] = [
  { temperature: 1, topK: 50, topP: 0.8 },
  { temperature: 0.7, topK: 0, topP: 1 },
  { temperature: 1.3, topK: 5, topP: 1 },
  { temperature: 1, topP: 0.5 },
  { temperature: 0, topP: 1 },
]
const name = (draw: Draw): string => JSON.stringify(draw)

describe.each(draws)('sampling in the graph with %o', (draw) => {
  it('chooses the same codes as the host from the same logits and random numbers', async () => {
    using backend = await loadBackend({ device: 'cpu', threads: 1 })
    const [vocabulary, batch] = [2048, 64]
    using graph = buildGraph(backend, (g) => ({
      ids: sampleInGraph(g, g.input('logits', 'f32', [vocabulary, batch]), draw, g.input('noise', 'f32', [1, batch])),
    }))
    const random = createRandom(9, 4)
    let different = 0
    for (let round = 0; round < 8; round++) {
      const logits = Float32Array.from({ length: vocabulary * batch }, () => 3 * Math.log(1 / (random() + 1e-9)))
      const samplers = Array.from({ length: batch }, (_, i) => createSampler(draw, createRandom(round * batch + i, 3)))
      const noise = Float32Array.from(samplers, (sampler) => sampler.ahead(1)[0] ?? 0)
      const { ids } = await graph.run({ logits, noise })
      samplers.forEach((sample, i) => {
        if (sample(logits.slice(i * vocabulary, (i + 1) * vocabulary)) !== ids[i]) different++
      })
    }
    expect(different).toBeLessThanOrEqual(1)
  })

  it('chooses codes within range for any input', async () => {
    using backend = await loadBackend({ device: 'cpu', threads: 1 })
    const rows = [NaN, Infinity, -Infinity, 0, 3e38]
    using graph = buildGraph(backend, (g) => ({
      ids: sampleInGraph(
        g,
        g.input('logits', 'f32', [100, rows.length]),
        draw,
        g.input('noise', 'f32', [1, rows.length]),
      ),
    }))
    const logits = Float32Array.from(rows.flatMap((value) => Array.from({ length: 100 }, () => value)))
    for (const number of [0, 1 - 2 ** -24, 1]) {
      const { ids } = await graph.run({ logits, noise: new Float32Array(rows.length).fill(number) })
      expect(Array.from(ids).every((id) => id >= 0 && id < 100)).toBe(true)
    }
  })
})

describe('a frame in one computation', () => {
  let tiny: TinyModel

  beforeAll(async () => {
    tiny = await loadTinyModel('tiny-moe')
  })

  afterAll(() => tiny[Symbol.dispose]())

  const predict = async (samplers: readonly ((logits: Float32Array) => number)[], frame: number) => {
    const { talker, codePredictor } = tiny.model
    if (!talker || !codePredictor) throw new Error('tiny-moe speaks')
    const random = createRandom(frame, 7)
    return codePredictor.predict(
      samplers.map((sample, i) => ({
        hidden: Float32Array.from({ length: talker.hiddenSize }, () => 2 * random() - 1),
        firstCode: (i * 7 + frame) % 64,
        sample,
      })),
    )
  }
  const samplersOf = (draw: Draw): Sampler[] => [1, 2, 3].map((seed) => createSampler(draw, createRandom(seed, 3)))

  it.each(draws.map((draw) => [name(draw), draw] as const))('gives the same codes as one group at a time: %s', async (_, draw) => {
    const guessed = samplersOf(draw)
    const stepped = samplersOf(draw).map((sampler) => (logits: Float32Array) => sampler(logits))
    for (let frame = 0; frame < 6; frame++) expect(await predict(guessed, frame)).toEqual(await predict(stepped, frame))
  })

  it('gives the samplers’ codes where the guesses are wrong', async () => {
    const draw = draws[0]!
    const misled = samplersOf(draw).map((sampler) =>
      Object.assign((logits: Float32Array) => sampler(logits), {
        plain: sampler.plain,
        ahead: (count: number) => new Float64Array(count).fill(0.999),
      }),
    )
    const stepped = samplersOf(draw).map((sampler) => (logits: Float32Array) => sampler(logits))
    for (let frame = 0; frame < 6; frame++) expect(await predict(misled, frame)).toEqual(await predict(stepped, frame))
  })
})
