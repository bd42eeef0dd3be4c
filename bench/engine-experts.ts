/**
 * One mixture-of-experts layer of Qwen3-Omni-30B-A3B (128 experts, 8 used, hidden 2048, width 768) against the
 * library's bare expert products: the overhead of routing, weighting and summing.
 */

import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'

import { declareParameters, loadedParameters, MixtureOfExperts, type Parameters } from '../src/nn/index.ts'
import {
  buildGraph,
  loadBackend,
  loadWeights,
  tensorBytes,
  tensorTypes,
  type Backend,
  type TensorType,
} from '../src/tensor/index.ts'
import { measure, median, type Benchmark, type BenchmarkContext, type Row } from './harness.ts'

const options = { hidden: 2048, intermediate: 768, experts: 128, used: 8, renormalise: true }

/** Random blocks with small scales, or random floats for the router. */
export function randomWeights(type: TensorType, shape: readonly number[]): Uint8Array {
  const bytes = tensorBytes(type, shape)
  if (type === 'f32')
    return new Uint8Array(Float32Array.from({ length: bytes / 4 }, () => (Math.random() - 0.5) / 5).buffer)
  const { blockBytes } = tensorTypes[type]
  const pool = randomBytes((1 << 16) * blockBytes)
  for (let i = 0; i < 1 << 16; i++) {
    pool.writeUInt16LE(type === 'q4_k' ? 0x0600 : 0x1c00 | ((i * 37) & 0xff), i * blockBytes)
    if (type === 'q4_k') pool.writeUInt16LE(0x0c00, i * blockBytes + 2)
  }
  const weights = new Uint8Array(bytes)
  for (let at = 0; at < bytes; at += pool.length) weights.set(pool.subarray(0, Math.min(pool.length, bytes - at)), at)
  return weights
}

/** Different experts for each token: [used, tokens]. */
function randomChoice(tokens: number): Int32Array {
  const { experts, used } = options
  return Int32Array.from(
    Array.from({ length: tokens }, () => {
      const all = Array.from({ length: experts }, (_, i) => i)
      return Array.from({ length: used }, () => all.splice(Math.floor(Math.random() * all.length), 1)[0] ?? 0)
    }).flat(),
  )
}

async function compare(backend: Backend, type: TensorType, context: BenchmarkContext): Promise<Row[]> {
  const { hidden, intermediate, used } = options
  const construct = (parameters: Parameters): MixtureOfExperts => new MixtureOfExperts(parameters, options)
  using weights = await loadWeights(
    backend,
    declareParameters(construct).map((declaration) => {
      const stored = declaration.use === 'experts' ? type : 'f32'
      return { ...declaration, type: stored, source: randomWeights(stored, declaration.shape) }
    }),
  )
  const layer = construct(loadedParameters(weights))
  const rows: Row[] = []
  for (const tokens of [1, 8, 128]) {
    using whole = buildGraph(backend, (g) => ({ y: layer.forward(g, g.input('x', 'f32', [hidden, tokens])) }))
    using bare = buildGraph(backend, (g) => {
      const ids = g.input('ids', 'i32', [used, tokens])
      const x = g.reshape(g.input('x', 'f32', [hidden, tokens]), hidden, 1, tokens)
      const inner = g.input('inner', 'f32', [intermediate, used, tokens])
      g.effect(g.mulMatId(layer.gate_proj, x, ids))
      g.effect(g.mulMatId(layer.up_proj, x, ids))
      return { y: g.mulMatId(layer.down_proj, inner, ids) }
    })
    const random = (count: number): Float32Array => Float32Array.from({ length: count }, () => Math.random() - 0.5)
    const inner = random(intermediate * used * tokens)
    const repetitions = Math.max(3, Math.round((context.quick ? 20 : 200) / tokens))
    const ours: number[] = []
    const library: number[] = []
    for (let round = 0; round < 3; round++) {
      context.signal.throwIfAborted()
      ours.push(...(await measure(repetitions, () => whole.run({ x: random(hidden * tokens) }))))
      library.push(
        ...(await measure(repetitions, () =>
          bare.run({ x: random(hidden * tokens), inner, ids: randomChoice(tokens) }),
        )),
      )
    }
    rows.push({
      case: `${type}, ${tokens} token${tokens === 1 ? '' : 's'}`,
      'layer ms': median(ours),
      'bare products ms': median(library),
      ratio: median(ours) / median(library),
    })
  }
  return rows
}

export const benchmark: Benchmark = {
  name: 'engine-experts',
  title: 'one 30B-A3B expert layer (128 experts, 8 used) against the bare expert products',
  async run(context) {
    using backend = await loadBackend({ device: 'cpu', threads: availableParallelism() })
    const rows: Row[] = []
    for (const type of context.quick ? (['q4_0'] as const) : (['q4_0', 'q4_k'] as const)) {
      context.log(`experts in ${type}`)
      rows.push(...(await compare(backend, type, context)))
    }
    return rows
  },
}
