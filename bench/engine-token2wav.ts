/**
 * The diffusion transformer of Qwen2.5-Omni's token2wav at real size: multiply-accumulates a second of whole
 * evaluations against the library's bare products of the same weights and columns, by weight type. Both alternate on
 * one thread, in processor time, and the ratio is of pairs.
 */

import type { Token2WavConfig } from '../src/models/qwen2_5-omni/token2wav/config.ts'
import { blockInputs } from '../src/models/qwen2_5-omni/token2wav/block-attention.ts'
import type { DitModel } from '../src/models/qwen2_5-omni/token2wav/dit.ts'
import { buildGraph, loadBackend, type Backend, type Inputs, type TensorType } from '../src/tensor/index.ts'
import { median, type Benchmark, type BenchmarkContext, type Row } from './harness.ts'
import { uniform } from './random-weights.ts'
import { realConfig, randomToken2Wav } from './token2wav-weights.ts'

const random = uniform(7)
const values = (count: number): Float32Array => Float32Array.from({ length: count }, () => random() - 0.5)

function velocityInputs({ config, modulationSize }: DitModel, frames: number): Inputs {
  const { hidden, mels, block } = config
  const layout = { block, blocks: (2 * frames) / block, empty: 0 }
  return {
    state: values(mels * frames),
    condition: values(hidden * frames),
    free: values(hidden),
    modulation: values(modulationSize),
    positions: Int32Array.from({ length: 2 * frames }, (_, i) => i % frames),
    ...blockInputs({ ...layout, reach: { back: 1, ahead: 0 } }, 2),
    ...blockInputs({ ...layout, reach: { back: 0, ahead: 1 } }, 2),
  }
}

/** Milliseconds of processor time: on one thread, other processes do not count. */
async function processorTime(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

/** As the real one, with a small vocoder, which does not run here. */
const config: Token2WavConfig = { ...realConfig, vocoder: { ...realConfig.vocoder, width: 192 } }

async function compare(
  backend: Backend,
  type: TensorType,
  windows: readonly number[],
  context: BenchmarkContext,
): Promise<Row[]> {
  using token2wav = await randomToken2Wav(backend, { dit: type, vocoder: 'q8_0' }, config)
  const { dit } = token2wav.model
  const { hidden, feedForward, layers, heads, headSize } = dit.config
  const products = layers * (4 * hidden * heads * headSize + 2 * hidden * feedForward)
  const rows: Row[] = []
  for (const frames of windows) {
    const columns = 2 * frames
    using whole = buildGraph(backend, (g) => ({ v: dit.velocity(g, { frames, empty: 0, guided: true }) }))
    using bare = buildGraph(backend, (g) => {
      const narrow = g.input('narrow', 'f32', [hidden, columns])
      const wide = g.input('wide', 'f32', [feedForward, columns])
      let last = narrow
      for (const { attn, ff_in, ff_out } of dit.layers) {
        for (const { weight } of [attn.to_q, attn.to_k, attn.to_v, attn.to_out, ff_in])
          g.effect(g.mulMat(weight, narrow))
        last = g.mulMat(ff_out.weight, wide)
        g.effect(last)
      }
      return { last }
    })
    const inputs = velocityInputs(dit, frames)
    const given = { narrow: values(hidden * columns), wide: values(feedForward * columns) }
    await whole.run(inputs)
    await bare.run(given)
    const times: { ours: number; library: number }[] = []
    for (let round = 0; round < (context.quick ? 3 : 9); round++) {
      context.signal.throwIfAborted()
      times.push({
        ours: await processorTime(() => whole.run(inputs)),
        library: await processorTime(() => bare.run(given)),
      })
    }
    const rate = (milliseconds: number): number => (products * columns) / milliseconds / 1e6
    rows.push({
      case: `${type}, ${frames} frames`,
      'evaluation ms': median(times.map(({ ours }) => ours)),
      'GMAC/s': rate(median(times.map(({ ours }) => ours))),
      'bare GMAC/s': rate(median(times.map(({ library }) => library))),
      ratio: median(times.map(({ ours, library }) => library / ours)),
      nodes: whole.nodes,
    })
  }
  return rows
}

export const benchmark: Benchmark = {
  name: 'engine-token2wav',
  title: 'the diffusion transformer of Qwen2.5-Omni (22 layers of 1024) against the bare products of its weights',
  async run(context) {
    using backend = await loadBackend({ device: 'cpu', threads: 1 })
    const types = (process.env['TOKEN2WAV_TYPES']?.split(',') ?? ['f32', 'bf16', 'q8_0', 'q4_0']) as TensorType[]
    const rows: Row[] = []
    for (const type of types) {
      context.log(`diffusion transformer in ${type}`)
      rows.push(...(await compare(backend, type, context.quick ? [144] : [96, 144, 288], context)))
    }
    return rows
  },
}
