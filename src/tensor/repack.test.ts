/**
 * Products of repacked weights equal those of stored weights, for many shapes. Which types are repacked depends on the
 * processor, so all types are tested.
 */

import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'

import {
  buildGraph,
  loadBackend,
  loadWeights,
  quantize,
  type Backend,
  type GraphBuilder,
  type Inputs,
  type QuantisedType,
  type Tensor,
  type WeightSpec,
} from './index.ts'
import { relativeError, repeatableNumbers } from './numeric-check.ts'
import { repackedError } from './repack-check.ts'
import { repackTypeFor } from './repack.ts'

vi.mock(import('./repack-check.ts'), async (original) => {
  const module = await original()
  return { repackedError: vi.fn(module.repackedError) }
})

let backend: Backend
beforeAll(async () => {
  backend = await loadBackend({ device: 'cpu', threads: 2 })
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.mocked(repackedError).mockReset()
  expect(backend.memory).toEqual({ buffers: 0, contexts: 0, objects: 0 })
})
afterAll(() => backend[Symbol.dispose]())

const numbers = (count: number, seed: number): Float32Array =>
  Float32Array.from({ length: count }, repeatableNumbers(seed))

/** A name, a product with the weight, and its inputs. */
type ProductCase = readonly [string, (g: GraphBuilder, weight: Tensor) => Tensor<'f32'>, Inputs]

/** Errors relative to stored weights. The second run counts, because the first can be right by chance. */
async function errors(spec: WeightSpec, cases: readonly ProductCase[]): Promise<[string, number][]> {
  using repacked = await loadWeights(backend, [spec])
  using stored = await loadWeights(backend, [spec], { repack: false })
  const results: [string, number][] = []
  for (const [name, product, inputs] of cases) {
    const outputs: Float32Array[] = []
    for (const set of [repacked, stored]) {
      using graph = buildGraph(backend, (g) => ({ y: product(g, set.get(spec.name)) }))
      await graph.run(inputs)
      outputs.push((await graph.run(inputs)).y)
    }
    results.push([name, relativeError(outputs[0]!, outputs[1]!)])
  }
  return results
}

const wrong = (results: readonly [string, number][]): [string, number][] =>
  results.filter(([, error]) => !(error < 1e-2))

const types: readonly (QuantisedType | 'f16')[] = ['f16', 'q4_0', 'q4_1', 'q8_0', 'q2_k', 'q4_k', 'q5_k', 'q6_k']

describe.each(types)('products of repacked %s weights', (type) => {
  const widths = type.endsWith('_k') ? [256, 768] : [32, 64, 96, 544]
  it.each(widths.flatMap((columns) => [64, 96, 288, 100].map((rows) => [columns, rows] as const)))(
    'equal those of stored weights: %i columns, %i rows',
    async (columns, rows) => {
      const source = await quantize(backend, type, numbers(columns * rows, 1), columns)
      const rowCounts = [1, 2, 16, 31, 32, 33, 50, 64, 83]
      const batches = [
        [3, 2, 1],
        [1, 5, 1],
        [33, 2, 2],
      ]
      const cases: ProductCase[] = [
        ...rowCounts.map((count): ProductCase => [
          `${count} rows of x`,
          (g, weight) => g.mulMat(weight, g.input('x', 'f32', [columns, count])),
          { x: numbers(columns * count, 2) },
        ]),
        ...batches.map(([m = 0, b = 0, c = 0]): ProductCase => [
          `batches ${m} x ${b} x ${c}`,
          (g, weight) => g.mulMat(weight, g.input('x', 'f32', [columns, m, b, c])),
          { x: numbers(columns * m * b * c, 3) },
        ]),
        [
          'rows of x with gaps',
          (g, weight) => {
            const wide = g.input('x', 'f32', [2 * columns, 7])
            return g.mulMat(weight, g.view(wide, [columns, 7], { strides: [2 * columns * 4] }))
          },
          { x: numbers(2 * columns * 7, 4) },
        ],
      ]
      const spec: WeightSpec = { name: 'w', type, shape: [columns, rows], use: 'matmul', source }
      expect(wrong(await errors(spec, cases))).toEqual([])
    },
  )

  it('equal those of stored weights: experts', async () => {
    const [columns, rows, experts, used] = [512, 64, 4, 2]
    const source = await quantize(backend, type, numbers(columns * rows * experts, 5), columns)
    const cases = [1, 7, 40].flatMap((tokens): ProductCase[] => {
      const ids = Int32Array.from({ length: used * tokens }, (_, i) => (i * 3 + (i >> 2)) % experts)
      return [
        [
          `${tokens} tokens`,
          (g, weight) =>
            g.mulMatId(weight, g.input('x', 'f32', [columns, 1, tokens]), g.input('ids', 'i32', [used, tokens])),
          { x: numbers(columns * tokens, 6), ids },
        ],
        [
          `${tokens} tokens, rows of x with gaps`,
          (g, weight) => {
            const wide = g.input('x', 'f32', [2 * columns, used, tokens])
            const x = g.view(wide, [columns, used, tokens], {
              strides: [2 * columns * 4, 2 * columns * 4 * used],
            })
            return g.mulMatId(weight, x, g.input('ids', 'i32', [used, tokens]))
          },
          { x: numbers(2 * columns * used * tokens, 7), ids },
        ],
      ]
    })
    const spec: WeightSpec = { name: 'w', type, shape: [columns, rows, experts], use: 'experts', source }
    expect(wrong(await errors(spec, cases))).toEqual([])
  })
})

describe('on a processor with faulty kernels for repacked weights', () => {
  it('the error is detected', async ({ skip }) => {
    const bufferType = backend.extraBufferTypes.find((type) => backend.native.backend_buft_name(type) === 'AMX')
    skip(bufferType === undefined, 'this processor has no AMX, the only kernels known to be faulty')
    expect(await repackedError(backend, bufferType!, 'q8_0', [32, 64, 1, 1], 'matmul')).not.toBeLessThan(0.1)
    expect(await repackedError(backend, bufferType!, 'q8_0', [64, 64, 1, 1], 'matmul')).toBeLessThan(1e-3)
  })

  it('weights are not repacked, and a warning is emitted', async ({ skip }) => {
    const shape = [512, 64, 1, 1] as const
    skip((await repackTypeFor(backend, 'q4_0', shape, 'matmul')) === undefined, 'this processor repacks nothing')
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue()
    vi.mocked(repackedError).mockResolvedValue(Number.NaN)
    // The device still opens, and uses weights as stored.
    using other = await loadBackend({ device: 'cpu', threads: 1 })
    expect(await repackTypeFor(other, 'q4_0', shape, 'matmul')).toBeUndefined()
    expect(warn).toHaveBeenCalledWith(
      expect.stringMatching(/^q4_0 weights with rows of 512, repacked as \w+, give wrong products on this processor/),
    )
  })
})
