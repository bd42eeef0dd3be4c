/**
 * The code predictor of Qwen3-Omni-30B-A3B at real size: a frame's codes against reading its weights as often, and
 * against the library's bare products, in turn in one run. Wall and processor time, by weight type, threads and
 * concurrent replies.
 */

import { CodePredictor, CodePredictorModel } from '../src/models/qwen3-omni/code-predictor.ts'
import type { CodePredictorInput } from '../src/models/qwen3-omni/speech/stages.ts'
import { defaultSpeech } from '../src/models/qwen3-omni/speech/settings.ts'
import { Embedding } from '../src/nn/index.ts'
import { createRandom } from '../src/sampling/random.ts'
import { createSampler } from '../src/sampling/sampler.ts'
import {
  buildGraph,
  loadBackend,
  tensorBytes,
  type Backend,
  type Tensor,
  type TensorType,
} from '../src/tensor/index.ts'
import { median, type Benchmark, type BenchmarkContext, type Row } from './harness.ts'
import { randomStage, Reader, realSpeech, spend, type Spent } from './random-stage.ts'
import { uniform } from './random-weights.ts'

const { talker, codePredictor } = realSpeech()
const random = uniform(3)
const values = (count: number): Float32Array => Float32Array.from({ length: count }, () => random() - 0.5)

/** What one frame multiplies, in order. */
function weightsRead({ layers, lm_head }: CodePredictorModel): Tensor[] {
  return lm_head.flatMap((head) => [
    ...layers.flatMap(({ parts: { attention, mlp } }) => {
      const { gate_proj, up_proj, down_proj } = mlp as unknown as Record<string, { weight: Tensor }>
      const all = [
        attention.q_proj,
        attention.k_proj,
        attention.v_proj,
        attention.o_proj,
        gate_proj,
        up_proj,
        down_proj,
      ]
      return all.map((linear) => linear!.weight)
    }),
    head.weight,
  ])
}

async function compare(backend: Backend, type: TensorType, batch: number, context: BenchmarkContext): Promise<Row> {
  using stage = await randomStage(backend, type, (parameters) => ({
    predictor: new CodePredictorModel(parameters.scope('talker.code_predictor'), codePredictor, talker.codeGroups),
    codec_embedding: new Embedding(parameters.scope('codec_embedding'), talker.vocabulary, talker.hidden),
    config: talker,
  }))
  const { predictor } = stage.model
  using stageRun = new CodePredictor(backend, predictor, stage.model)
  const weights = weightsRead(predictor)
  using bare = buildGraph(backend, (g) => {
    const inputs = new Map<number, Tensor<'f32'>>()
    let last: Tensor<'f32'> | undefined
    for (const weight of weights) {
      const [width] = weight.shape
      const x = inputs.get(width) ?? g.input(`x${width}`, 'f32', [width, batch])
      inputs.set(width, x)
      last = g.mulMat(weight, x)
      g.effect(last)
    }
    return { last: last! }
  })
  const given = Object.fromEntries(
    [...new Set(weights.map(({ shape }) => shape[0]))].map((width) => [`x${width}`, values(width * batch)]),
  )
  const bytes = weights.reduce((sum, weight) => sum + tensorBytes(weight.type, weight.shape), 0)
  await using reader = new Reader(bytes / predictor.lm_head.length, backend.threads)
  const samplers = Array.from({ length: batch }, (_, i) =>
    createSampler(defaultSpeech.codePredictor, createRandom(i + 1, 3)),
  )
  const predict = (samples: readonly CodePredictorInput['sample'][]): Promise<unknown> =>
    stageRun.predict(samples.map((sample) => ({ hidden: values(talker.hidden), firstCode: 7, sample })))
  const works = {
    frame: () => predict(samplers),
    // A function hides its sampler: group by group, the host picking in between.
    stepped: () => predict(samplers.map((sampler) => (logits: Float32Array) => sampler(logits))),
    bare: () => bare.run(given),
    read: () => reader.read(predictor.lm_head.length),
  }
  const times: Record<keyof typeof works, Spent>[] = []
  for (let round = 0; round < (context.quick ? 6 : 25); round++) {
    context.signal.throwIfAborted()
    const one = {
      frame: await spend(works.frame),
      bare: await spend(works.bare),
      stepped: await spend(works.stepped),
      read: await spend(works.read),
    }
    if (round > 1) times.push(one)
  }
  const of = (what: keyof typeof works, kind: keyof Spent): number => median(times.map((one) => one[what][kind]))
  const ratio = (a: keyof typeof works, b: keyof typeof works, kind: keyof Spent): number =>
    median(times.map((one) => one[a][kind] / one[b][kind]))
  return {
    case: `${type}, ${backend.threads} threads, ${batch} replies`,
    'frame ms': of('frame', 'wall'),
    'processor ms': of('frame', 'processor'),
    'by group': of('stepped', 'wall'),
    'by group, processor': of('stepped', 'processor'),
    'wall / by group': ratio('frame', 'stepped', 'wall'),
    'processor / by group': ratio('frame', 'stepped', 'processor'),
    'wall / bare': ratio('frame', 'bare', 'wall'),
    'wall / reading': ratio('frame', 'read', 'wall'),
    'processor / bare': ratio('frame', 'bare', 'processor'),
    'processor / reading': ratio('frame', 'read', 'processor'),
    'GB/s': bytes / of('read', 'wall') / 1e6,
  }
}

export const benchmark: Benchmark = {
  name: 'engine-predictor',
  title: 'a frame of the code predictor of Qwen3-Omni-30B-A3B against reading its weights and their bare products',
  async run(context) {
    const types = (process.env['PREDICTOR_TYPES']?.split(',') ?? ['q8_0', 'q4_0']) as TensorType[]
    const rows: Row[] = []
    for (const threads of process.env['BENCH_THREADS']?.split(',').map(Number) ?? [1, 2]) {
      using backend = await loadBackend({ device: 'cpu', threads })
      for (const type of types) {
        for (const batch of process.env['PREDICTOR_REPLIES']?.split(',').map(Number) ??
          (context.quick ? [1] : [1, 4])) {
          context.log(`code predictor in ${type}, ${threads} threads, ${batch} replies`)
          rows.push(await compare(backend, type, batch, context))
        }
      }
    }
    return rows
  },
}
