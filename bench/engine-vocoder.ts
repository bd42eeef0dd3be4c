/**
 * The vocoder of Qwen3-Omni-30B-A3B at real size: a piece of four frames against the library's bare products of the
 * same weights and columns, in turn in one run. Wall and processor time of a frame, by weight type and threads.
 */

import { Code2Wav } from '../src/models/qwen3-omni/code2wav-stream.ts'
import { Code2WavModel } from '../src/models/qwen3-omni/code2wav.ts'
import { buildGraph, loadBackend, type Backend, type Tensor, type TensorType } from '../src/tensor/index.ts'
import { median, type Benchmark, type BenchmarkContext, type Row } from './harness.ts'
import { randomStage, realSpeech, spend, type Spent } from './random-stage.ts'
import { uniform } from './random-weights.ts'

const config = realSpeech().code2wav
const random = uniform(5)
const piece = 4

/** Weights of a piece's products and their columns. */
export function productsOf(model: Code2WavModel): { weight: Tensor; columns: number }[] {
  const products: { weight: Tensor; columns: number }[] = []
  const add = (columns: number, ...modules: readonly { readonly weight: Tensor }[]): void => {
    for (const { weight } of modules) products.push({ weight, columns })
  }
  for (const { parts } of model.layers) {
    const { attention, mlp } = parts
    const { gate_proj, up_proj, down_proj } = mlp as unknown as Record<
      'gate_proj' | 'up_proj' | 'down_proj',
      { weight: Tensor }
    >
    add(piece, attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj, gate_proj, up_proj, down_proj)
  }
  let columns = piece
  for (const { conv, block } of model.upsample) {
    add(columns, conv)
    columns *= conv.stride
    add(columns, block.pwconv1, block.pwconv2)
  }
  add(columns, model.first)
  for (const { upsample, units } of model.blocks) {
    add(columns + 1, upsample)
    columns *= upsample.stride
    for (const { conv1, conv2 } of units) add(columns, conv1, conv2)
  }
  add(columns, model.last)
  return products
}

/** Multiply-accumulates of a frame; the model's weights need no values. */
export function accumulatesPerFrame(model: Code2WavModel): number {
  const products = productsOf(model)
  return products.reduce((sum, { weight, columns }) => sum + weight.shape[0] * weight.shape[1] * columns, 0) / piece
}

async function compare(backend: Backend, type: TensorType, context: BenchmarkContext): Promise<Row> {
  using stage = await randomStage(
    backend,
    type,
    (parameters) => new Code2WavModel(parameters.scope('code2wav'), config),
  )
  using code2wav = new Code2Wav(backend, stage.model)
  const products = productsOf(stage.model)
  using bare = buildGraph(backend, (g) => {
    const inputs = new Map<string, Tensor<'f32'>>()
    let last: Tensor<'f32'> | undefined
    for (const { weight, columns } of products) {
      const name = `${weight.shape[0]} ${columns}`
      const x = inputs.get(name) ?? g.input(name, 'f32', [weight.shape[0], columns])
      inputs.set(name, x)
      last = g.mulMat(weight, x)
      g.effect(last)
    }
    return { last: last! }
  })
  const given: Record<string, Float32Array> = {}
  for (const { weight, columns } of products)
    given[`${weight.shape[0]} ${columns}`] ??= Float32Array.from(
      { length: weight.shape[0] * columns },
      () => random() - 0.5,
    )
  const accumulates = piece * accumulatesPerFrame(stage.model)
  using stream = code2wav.newStream()
  const codes = (): Int32Array =>
    Int32Array.from({ length: piece * config.codeGroups }, () => Math.floor(random() * config.codebookSize))
  const times: { ours: Spent; bare: Spent }[] = []
  for (let round = 0; round < (context.quick ? 6 : 25); round++) {
    context.signal.throwIfAborted()
    const one = { ours: await spend(() => stream.push(codes())), bare: await spend(() => bare.run(given)) }
    if (round > 1) times.push(one)
  }
  const of = (what: 'ours' | 'bare', kind: keyof Spent): number => median(times.map((one) => one[what][kind])) / piece
  return {
    case: `${type}, ${backend.threads} threads`,
    'frame ms': of('ours', 'wall'),
    'processor ms': of('ours', 'processor'),
    'bare ms': of('bare', 'wall'),
    'bare processor ms': of('bare', 'processor'),
    'wall / bare': median(times.map((one) => one.ours.wall / one.bare.wall)),
    'processor / bare': median(times.map((one) => one.ours.processor / one.bare.processor)),
    'GMAC a frame': accumulates / piece / 1e9,
  }
}

export const benchmark: Benchmark = {
  name: 'engine-vocoder',
  title: 'a frame of the vocoder of Qwen3-Omni-30B-A3B against the bare products of its weights',
  async run(context) {
    const types = (process.env['VOCODER_TYPES']?.split(',') ?? ['q8_0', 'q4_0']) as TensorType[]
    const rows: Row[] = []
    for (const threads of process.env['BENCH_THREADS']?.split(',').map(Number) ?? [1, 2]) {
      using backend = await loadBackend({ device: 'cpu', threads })
      for (const type of types) {
        context.log(`vocoder in ${type}, ${threads} threads`)
        rows.push(await compare(backend, type, context))
      }
    }
    return rows
  },
}
