import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { buildGraph, GraphCache, loadBackend, loadWeights, type Backend, type WeightSet } from '../tensor/index.ts'
import {
  attendBlocks,
  Attention,
  declareParameters,
  joinPositions,
  KvCache,
  KvStep,
  loadedParameters,
  Rotary,
  type Parameters,
} from './index.ts'
import { maximumDifference, random, referenceAttention } from './test-references.ts'
import { deviceLimit, testDevice } from '../tensor/test-device.ts'

const options = { hidden: 48, heads: 6, keyValueHeads: 2, headSize: 16, queryKeyNorm: 1e-6, bias: true }
const rotary = new Rotary({ kind: 'multimodal', base: 10_000, sections: [3, 3, 2], interleaved: true })

let backend: Backend
let weights: WeightSet
let attention: Attention
const values = new Map<string, Float32Array>()

beforeAll(async () => {
  backend = await loadBackend({ device: testDevice, threads: 2 })
  const construct = (p: Parameters): Attention => new Attention(p, options)
  const declared = declareParameters(construct)
  for (const { name, shape } of declared) values.set(name, random(shape[0] * shape[1], 0.3, name.length))
  weights = await loadWeights(
    backend,
    declared.map(({ name, shape, use }) => ({
      name,
      type: 'f32',
      shape,
      use,
      source: values.get(name) ?? new Float32Array(),
    })),
  )
  attention = construct(loadedParameters(weights))
})
afterAll(() => {
  weights[Symbol.dispose]()
  expect(backend.memory.objects).toBe(0)
  backend[Symbol.dispose]()
})

/** Includes fractions, as positions of some videos do. */
const positionsOf = (from: number, tokens: number): Float32Array =>
  Float32Array.from({ length: 3 * tokens }, (_, i) => 1.375 * (from + (i % tokens)) + 5 * Math.floor(i / tokens))

/** Only a CPU stores values in columns. */
const layouts = testDevice === 'cpu' ? (['columns', 'rows'] as const) : (['rows'] as const)

describe('attention with caches', () => {
  it.each(
    layouts.flatMap((layout) => [
      { window: undefined, limit: 2e-6, type: 'f32' as const, layout },
      { window: 4, limit: 2e-6, type: 'f32' as const, layout },
      { window: undefined, limit: 2e-3, type: 'f16' as const, layout },
    ]),
  )(
    'equals the reference in each step, with two sequences ($type, window $window, values in $layout)',
    async ({ window, limit, type, layout }) => {
      using graphs = new GraphCache(backend)
      const cacheOptions = { layers: 1, keyValueHeads: 2, headSize: 16, capacity: 300, type, values: layout }
      using a = new KvCache(backend, cacheOptions)
      using b = new KvCache(backend, cacheOptions)
      const histories = new Map<KvCache, { x: Float32Array[]; length: number }>([
        [a, { x: [], length: 0 }],
        [b, { x: [], length: 0 }],
      ])
      const steps: [KvCache, number][][] = [
        [[a, 5]],
        [
          [b, 3],
          [a, 1],
        ],
        [
          [a, 1],
          [b, 1],
        ],
        [[b, 7]],
        [[a, 70]],
        [[b, 30]],
        [[a, 2]],
        [[a, 1]],
      ]
      let seed = 100
      for (const items of steps) {
        for (const [cache, tokens] of items) await cache.reserve(cache.length + tokens)
        const step = new KvStep(
          items.map(([cache, tokens]) => ({ cache, tokens })),
          { window, repeats: 3 },
        )
        const x = random(step.tokens * 48, 1, seed++)
        const positions = joinPositions(
          items.map(([cache, tokens]) => positionsOf(cache.length, tokens)),
          3,
        )
        const { y } = await graphs.run(
          step.key,
          (g) => {
            const rotation = { rotary, positions: rotary.input(g, step.tokens) }
            return { y: attention.forward(g, g.input('x', 'f32', [48, step.tokens]), step.segments(g), 0, rotation) }
          },
          { x, positions: rotary.positions(positions), ...step.inputs() },
        )
        step.advance()
        let start = 0
        for (const [cache, tokens] of items) {
          const history = histories.get(cache)
          if (!history) throw new Error('no history')
          history.x.push(x.slice(start * 48, (start + tokens) * 48))
          history.length += tokens
          const all = new Float32Array(history.length * 48)
          let at = 0
          for (const part of history.x) {
            all.set(part, at)
            at += part.length
          }
          const expected = referenceAttention(values, options, all, positionsOf(0, history.length), {
            window,
            sections: [3, 3, 2],
          })
          expect(
            maximumDifference(
              y.slice(start * 48, (start + tokens) * 48),
              expected.slice((history.length - tokens) * 48),
            ),
          ).toBeLessThan(deviceLimit(limit))
          start += tokens
        }
      }
    },
  )

  it('attends within blocks', async () => {
    const lengths = [4, 4, 4, 3, 2]
    const tokens = 17
    const x = random(tokens * 48, 1, 7)
    using graph = buildGraph(backend, (g) => {
      const rotation = { rotary, positions: rotary.input(g, tokens) }
      return { y: attention.encode(g, g.input('x', 'f32', [48, tokens]), { lengths, rotation }) }
    })
    const { y } = await graph.run({ x, positions: rotary.positions(positionsOf(0, tokens)) })
    const expected = referenceAttention(values, options, x, positionsOf(0, tokens), { lengths, sections: [3, 3, 2] })
    expect(maximumDifference(y, expected)).toBeLessThan(deviceLimit(2e-6))
  })

  it('attends within blocks when the head size is not a multiple of 16', async () => {
    const [head, heads, tokens] = [40, 2, 70]
    const [q, k, v] = [
      random(head * heads * tokens, 1, 1),
      random(head * heads * tokens, 1, 2),
      random(head * heads * tokens, 1, 3),
    ]
    const lengths = [66, 2, 2]
    using graph = buildGraph(backend, (g) => {
      const input = (name: string) => g.input(name, 'f32', [head, heads, tokens])
      return { y: attendBlocks(g, input('q'), input('k'), input('v'), 0.2, { lengths }) }
    })
    const { y } = await graph.run({ q, k, v })
    const expected: number[] = []
    for (let t = 0; t < tokens; t++) {
      const [from, to] = t < 66 ? [0, 66] : t < 68 ? [66, 68] : [68, 70]
      for (let h = 0; h < heads; h++) {
        const at = (token: number): number => (token * heads + h) * head
        const powers = Array.from({ length: to - from }, (_, j) => {
          let sum = 0
          for (let i = 0; i < head; i++) sum += (q[at(t) + i] ?? 0) * (k[at(from + j) + i] ?? 0)
          return Math.exp(sum * 0.2)
        })
        const total = powers.reduce((a, b) => a + b)
        for (let i = 0; i < head; i++)
          expected.push(powers.reduce((sum, p, j) => sum + (p / total) * (v[at(from + j) + i] ?? 0), 0))
      }
    }
    expect(maximumDifference(y, expected)).toBeLessThan(deviceLimit(2e-6))
  })

  it('refuses steps that do not fit in the cache', async () => {
    using cache = new KvCache(backend, { layers: 1, keyValueHeads: 1, headSize: 16, capacity: 8 })
    expect(() => new KvStep([{ cache, tokens: 9 }])).toThrow(/holds 0 of at most 8 tokens; 9 more do not fit/)
    expect(() => new KvStep([{ cache, tokens: 1 }])).toThrow(/memory for 0 tokens; reserve 1 first/)
    await expect(cache.reserve(9)).rejects.toThrow(/holds 0 of at most 8/)
    await cache.reserve(8)
    expect(
      () =>
        new KvStep([
          { cache, tokens: 1 },
          { cache, tokens: 1 },
        ]),
    ).toThrow(/twice/)
  })
})
