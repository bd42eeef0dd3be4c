/** Results with caches that grow, are truncated or copied equal those with a cache of full size, bit for bit. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { GraphCache, loadBackend, loadWeights, type Backend, type WeightSet } from '../tensor/index.ts'
import { testDevice } from '../tensor/test-device.ts'
import { Attention, declareParameters, KvCache, KvStep, loadedParameters, Rotary, type Parameters } from './index.ts'
import { random } from './test-references.ts'

const hidden = 48
/** More than the groups of a store, so that most groups have two layers. */
const layers = 9
const rotary = new Rotary({ kind: 'plain', base: 10_000 })
const construct = (p: Parameters): Attention =>
  new Attention(p, { hidden, heads: 6, keyValueHeads: 2, headSize: 16, queryKeyNorm: 1e-6 })

let backend: Backend
let weights: WeightSet
let attention: Attention
let graphs: GraphCache

beforeAll(async () => {
  backend = await loadBackend({ device: testDevice, threads: 2 })
  weights = await loadWeights(
    backend,
    declareParameters(construct).map(({ name, shape, use }) => ({
      name,
      type: 'f32',
      shape,
      use,
      source: random(shape[0] * shape[1], 0.3, name.length),
    })),
  )
  attention = construct(loadedParameters(weights))
  graphs = new GraphCache(backend)
})
afterAll(() => {
  graphs[Symbol.dispose]()
  weights[Symbol.dispose]()
  expect(backend.memory.objects).toBe(0)
  backend[Symbol.dispose]()
})

/** Computes tokens [from, from + count) of one fixed text in all layers; returns [hidden, count]. */
async function step(cache: KvCache, count: number, from = cache.length): Promise<Float32Array> {
  const kv = new KvStep([{ cache, tokens: count }], { repeats: 3 })
  const x = random(hidden * 2000, 1, 5).slice(hidden * from, hidden * (from + count))
  const { y } = await graphs.run(
    kv.key,
    (g) => {
      const rotation = { rotary, positions: rotary.input(g, count) }
      const segments = kv.segments(g)
      let y = g.input('x', 'f32', [hidden, count])
      for (let layer = 0; layer < layers; layer++) y = g.add(y, attention.forward(g, y, segments, layer, rotation))
      return { y }
    },
    { x, positions: rotary.positions(Float32Array.from({ length: count }, (_, i) => from + i)), ...kv.inputs() },
  )
  kv.advance()
  return y
}

const options = (type: 'f16' | 'f32', values: 'rows' | 'columns'): ConstructorParameters<typeof KvCache>[1] => ({
  layers,
  keyValueHeads: 2,
  headSize: 16,
  capacity: 1100,
  type,
  values,
})

/** Only a CPU stores values in columns. */
const layouts = testDevice === 'cpu' ? (['columns', 'rows'] as const) : (['rows'] as const)

describe.each(layouts.flatMap((values) => [['f16', values] as const, ['f32', values] as const]))(
  'a cache in %s with values in %s',
  (type, values) => {
    it('has no memory before it is reserved, and grows by whole blocks and at least an eighth', async () => {
      using cache = new KvCache(backend, options(type, values))
      expect([cache.reserved, cache.bytes]).toEqual([0, 0])
      const sizes: number[] = []
      for (let tokens = 1; tokens <= 1100; tokens += 157) {
        await cache.reserve(tokens)
        sizes.push(cache.reserved)
        expect(cache.bytes).toBeGreaterThanOrEqual(cache.bytesOf(cache.reserved).held)
        expect(cache.bytes).toBeLessThan(cache.bytesOf(cache.reserved).held * 1.01 + 8 * 4096)
      }
      expect(sizes).toEqual([256, 256, 512, 512, 768, 1024, 1024, 1120])
    })

    it('gives the same results while it grows as with its full size from the start', async () => {
      using whole = new KvCache(backend, options(type, values))
      await whole.reserve(1024)
      using growing = new KvCache(backend, options(type, values))
      for (const count of [200, 1, 80, 5, 240, 1, 1]) {
        await growing.reserve(growing.length + count)
        const grown = await step(growing, count)
        expect(grown).toEqual(await step(whole, count))
      }
      expect(growing.reserved).toBeLessThan(whole.reserved)
    })

    it('gives the same results after truncation and in a copy as in a fresh cache', async () => {
      using first = new KvCache(backend, options(type, values))
      await first.reserve(300)
      await step(first, 300)
      using copy = new KvCache(backend, options(type, values))
      await copy.reserve(140)
      await copy.copyFrom(first, 130)
      // After token 130 the first cache continues with another text.
      first.truncate(130)
      await step(first, 30, 900)
      first.truncate(130)
      using fresh = new KvCache(backend, options(type, values))
      await fresh.reserve(300)
      await step(fresh, 130)
      const expected = await step(fresh, 7)
      expect(await step(first, 7)).toEqual(expected)
      expect(await step(copy, 7)).toEqual(expected)
      expect(copy.length).toBe(137)
    })
  },
)

it('refuses copies that are too long for the source or the target', async () => {
  using source = new KvCache(backend, options('f16', 'rows'))
  await source.reserve(1)
  await step(source, 1)
  using target = new KvCache(backend, options('f16', 'rows'))
  await expect(target.copyFrom(source, 2)).rejects.toThrow(/of 1 tokens does not have 2 tokens to copy/)
  await expect(target.copyFrom(source, 1)).rejects.toThrow(/memory for 0 tokens; reserve 1 first/)
})
