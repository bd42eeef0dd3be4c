/**
 * Layers of Qwen3-Omni-30B-A3B's thinker (128 experts, 8 used) against dense layers of as many active weights, in
 * turn in one run: prompts of 16 to 512 tokens, and a token after 512 to 32,768.
 *
 * Both are the thinker as it is served, with a small vocabulary; the dense one's feed-forward is as wide as eight
 * experts.
 */

import { availableParallelism } from 'node:os'

import { Thinker, ThinkerModel } from '../src/models/decoder/thinker.ts'
import { parseConfig } from '../src/models/qwen3-omni/config.ts'
import { declareParameters, loadedParameters, type Parameters } from '../src/nn/index.ts'
import { loadBackend, loadWeights, type Backend, type TensorType, type WeightSet } from '../src/tensor/index.ts'
import { randomWeights } from './engine-experts.ts'
import { median, type Benchmark, type BenchmarkContext, type Row } from './harness.ts'
import { publishedConfig, spend, type Spent } from './random-stage.ts'

const layers = 3
const published = parseConfig(publishedConfig()).thinker
const { experts, used, width } = published.sparse!
const sparse = { ...published, layers, vocabulary: 1024, sparseLayers: Array.from({ length: layers }, () => true) }
const dense = { ...sparse, feedForward: used * width, sparseLayers: sparse.sparseLayers.map(() => false) }

class Side implements Disposable {
  readonly thinker: Thinker
  readonly #weights: WeightSet

  private constructor(backend: Backend, weights: WeightSet, model: ThinkerModel, byLayers: boolean) {
    this.#weights = weights
    this.thinker = new Thinker(backend, model, byLayers ? {} : { byLayersFrom: Infinity })
  }

  /** `byLayers`: false takes all steps in one graph. */
  static async open(backend: Backend, type: TensorType, config: typeof sparse, byLayers: boolean): Promise<Side> {
    const construct = (parameters: Parameters): ThinkerModel => new ThinkerModel(parameters, config)
    const weights = await loadWeights(
      backend,
      declareParameters(construct).map((declaration) => {
        const stored = declaration.precision === 'exact' ? 'f32' : type
        return { ...declaration, type: stored, source: randomWeights(stored, declaration.shape) }
      }),
    )
    return new Side(backend, weights, construct(loadedParameters(weights)), byLayers)
  }

  /** A step of `tokens` after a context that is taken as written. */
  async step(tokens: number, context = 0): Promise<Spent> {
    using sequence = this.thinker.newSequence(context + tokens)
    await sequence.reserve(context + tokens)
    if (context > 0) sequence.cache.advance(context)
    const run = (): Promise<unknown> =>
      this.thinker.forward([
        {
          sequence,
          tokenIds: Int32Array.from({ length: tokens }, () => Math.floor(Math.random() * sparse.vocabulary)),
          positions: Float32Array.from({ length: 3 * tokens }, (_, i) => context + (i % tokens)),
          logits: 'last',
          hidden: false,
        },
      ])
    if (tokens > 1) return await spend(run)
    // The first describes the graph, as of every 256th token.
    await run()
    sequence.truncate(context)
    return await spend(run)
  }

  [Symbol.dispose](): void {
    this.thinker[Symbol.dispose]()
    this.#weights[Symbol.dispose]()
  }
}

async function compare(backend: Backend, type: TensorType, context: BenchmarkContext): Promise<Row[]> {
  using served = await Side.open(backend, type, sparse, true)
  using oneGraph = await Side.open(backend, type, sparse, false)
  using plain = await Side.open(backend, type, dense, false)
  const rows: Row[] = []
  const cases = [
    ...[16, 64, 128, 256, 512].map((tokens) => ({ tokens, past: 0 })),
    ...[512, 8192, 32_768].map((past) => ({ tokens: 1, past })),
  ]
  for (const { tokens, past } of context.quick ? cases.filter((one) => one.tokens === 512) : cases) {
    const times: Record<'served' | 'oneGraph' | 'dense', Spent>[] = []
    for (let round = 0; round < (context.quick ? 4 : tokens === 1 ? 15 : 6); round++) {
      context.signal.throwIfAborted()
      const one = {
        served: await served.step(tokens, past),
        oneGraph: await oneGraph.step(tokens, past),
        dense: await plain.step(tokens, past),
      }
      if (round > 0) times.push(one)
    }
    const of = (side: keyof (typeof times)[0]): number => median(times.map((one) => one[side].wall)) / layers
    rows.push({
      case: tokens === 1 ? `${type}, a token after ${past}` : `${type}, prompt of ${tokens}`,
      'layer ms': of('served'),
      'in one graph ms': of('oneGraph'),
      'dense ms': of('dense'),
      'dense / layer': median(times.map((one) => one.dense.wall / one.served.wall)),
      'dense / in one graph': median(times.map((one) => one.dense.wall / one.oneGraph.wall)),
      'processor, dense / layer': median(times.map((one) => one.dense.processor / one.served.processor)),
    })
    context.log(`  ${JSON.stringify(rows.at(-1))}`)
  }
  return rows
}

export const benchmark: Benchmark = {
  name: 'engine-sparse',
  title: `layers of 30B-A3B's thinker (${experts} experts, ${used} used) against dense ones of as many active weights`,
  async run(context) {
    using backend = await loadBackend({ device: 'cpu', threads: availableParallelism() })
    const types = (process.env['EXPERT_TYPES']?.split(',') ?? ['q4_0', 'q4_k']) as TensorType[]
    const rows: Row[] = []
    for (const type of context.quick ? types.slice(0, 1) : types) rows.push(...(await compare(backend, type, context)))
    return rows
  },
}
