/**
 * Effect of weight types of the code predictor and of the vocoder, with the other stages in f32: probabilities of codes
 * and samples against f32.
 *
 * The checkpoint is `models/nano`, else `testdata/checkpoints/tiny-moe`, or the folder in `OMNISERVE_BENCH_CHECKPOINT`.
 * The talker continues from its first codes by itself, in f32; every type then gets the same hidden states and codes.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { type Qwen3OmniModel, qwen3Omni } from '../src/models/qwen3-omni/model.ts'
import { defaultSpeech } from '../src/models/qwen3-omni/speech/settings.ts'
import { readCheckpointFiles } from '../src/prompt/checkpoint-files.ts'
import { createRandom } from '../src/sampling/random.ts'
import { createSampler, distribution } from '../src/sampling/sampler.ts'
import { type Backend, loadBackend } from '../src/tensor/index.ts'
import {
  type Checkpoint,
  loadParameters,
  openCheckpoint,
  type WeightStage,
  type WeightType,
} from '../src/weights/index.ts'
import { signalToNoise } from '../testing/golden.ts'
import { type Benchmark, round, type Row } from './harness.ts'

const root = join(import.meta.dirname, '..')
const types: readonly WeightType[] = ['q8_0', 'q6_k', 'q5_k', 'q4_k', 'q4_0']

interface Frame {
  readonly hidden: Float32Array
  readonly codes: readonly number[]
  /** Of each residual group, in f32. */
  readonly logits: readonly Float32Array[]
}

interface Loaded extends Disposable {
  readonly model: Qwen3OmniModel
}

async function load(backend: Backend, checkpoint: Checkpoint, stage: WeightStage, type: WeightType): Promise<Loaded> {
  const description = qwen3Omni.read(await readCheckpointFiles(checkpoint))
  const { naming, declarations } = description
  const stages = { 'code-predictor': 'f32', code2wav: 'f32', [stage]: type } as const
  const weights = await loadParameters(backend, checkpoint, declarations, { naming, types: { type: 'f32', stages } })
  const model = description.build(backend, weights, { cacheType: 'f32' })
  return {
    model,
    [Symbol.dispose]() {
      model[Symbol.dispose]()
      weights[Symbol.dispose]()
    },
  }
}

/** Frames that the talker then samples. */
async function speak(model: Qwen3OmniModel, count: number): Promise<Frame[]> {
  const { talker, codePredictor, speech } = model
  if (!talker || !codePredictor || !speech) throw new Error('the checkpoint does not speak')
  const { suppressedCodecIds, codecBosId, codecEosId } = speech.config
  const random = createRandom(5, 2)
  const first = createSampler({ ...defaultSpeech.talker, suppressed: [...suppressedCodecIds, codecEosId] }, random)
  const residual = createSampler(defaultSpeech.codePredictor, createRandom(5, 3))
  using sequence = talker.newSequence(count + 1)
  const frames: Frame[] = []
  let embeddings = await talker.embedCodec(Int32Array.of(codecBosId))
  for (let position = 0; position < count; position++) {
    const positions = Float32Array.of(position, position, position)
    await sequence.reserve(position + 1)
    const [output] = await talker.forward([{ sequence, embeddings, positions }])
    if (!output) throw new Error('the talker gave nothing')
    const { hidden } = output
    const firstCode = first(output.logits)
    const logits: Float32Array[] = []
    const sample = (row: Float32Array): number => {
      logits.push(row.slice())
      return residual(row)
    }
    const [predicted] = await codePredictor.predict([{ hidden, firstCode, sample }])
    if (!predicted) throw new Error('the code predictor gave nothing')
    frames.push({ hidden, codes: [firstCode, ...predicted.codes], logits })
    embeddings = predicted.embeddingSum
  }
  return frames
}

/** Logits of every residual group after f32's own codes. */
async function odds({ codePredictor }: Qwen3OmniModel, frames: readonly Frame[]): Promise<Float32Array[][]> {
  const all: Float32Array[][] = []
  for (const { hidden, codes } of frames) {
    const rows: Float32Array[] = []
    const sample = (row: Float32Array): number => codes[rows.push(row.slice())] ?? 0
    await codePredictor?.predict([{ hidden, firstCode: codes[0] ?? 0, sample }])
    all.push(rows)
  }
  return all
}

async function samples(
  { code2wav }: Qwen3OmniModel,
  frames: readonly Frame[],
  codebook: number,
): Promise<Float32Array> {
  if (!code2wav) throw new Error('the checkpoint does not speak')
  using stream = code2wav.newStream()
  return stream.push(
    Int32Array.from(
      frames.flatMap(({ codes }) => codes),
      (code) => Math.min(code, codebook - 1),
    ),
  )
}

/** The sampler's input: probabilities at the temperature, top-k and top-p of speech. */
function compare(expected: Float32Array, actual: Float32Array): { overlap: number; same: boolean } {
  const chances = (row: Float32Array): Map<number, number> => {
    const { ids, weights, total } = distribution(row, defaultSpeech.codePredictor)
    return new Map(Array.from(ids, (id, i) => [id, (weights[i] ?? 0) / total]))
  }
  const [p, q] = [chances(expected), chances(actual)]
  let overlap = 0
  for (const [id, probability] of p) overlap += Math.min(probability, q.get(id) ?? 0)
  const best = (row: Float32Array): number => row.indexOf(row.reduce((a, b) => Math.max(a, b)))
  return { overlap, same: best(expected) === best(actual) }
}

export const benchmark: Benchmark = {
  name: 'drift-speech',
  title: 'drift of quantised weights of the code predictor and the vocoder against f32, by type',
  run: async (context) => {
    const nano = join(root, 'models', 'nano')
    const asked = process.env['OMNISERVE_BENCH_CHECKPOINT']
    const folder = asked ?? (existsSync(nano) ? nano : join(root, 'testdata', 'checkpoints', 'tiny-moe'))
    context.log(`  ${folder}`)
    using backend = await loadBackend({ device: 'cpu', threads: 1 })
    using checkpoint = await openCheckpoint(folder)
    const { code2wav_config: vocoder } = checkpoint.config as { code2wav_config?: { codebook_size?: number } }
    const codebook = vocoder?.codebook_size ?? 1
    let frames: Frame[]
    let wave: Float32Array
    {
      using exact = await load(backend, checkpoint, 'code2wav', 'f32')
      frames = await speak(exact.model, context.quick ? 12 : 48)
      wave = await samples(exact.model, frames, codebook)
    }
    const rows: Row[] = []
    for (const type of types) {
      context.signal.throwIfAborted()
      let [overlap, same, count, signal, noise] = [0, 0, 0, 0, 0]
      {
        using predictor = await load(backend, checkpoint, 'code-predictor', type)
        for (const [i, logits] of (await odds(predictor.model, frames)).entries())
          for (const [j, row] of logits.entries()) {
            const expected = frames[i]?.logits[j] ?? row
            const one = compare(expected, row)
            overlap += one.overlap
            same += one.same ? 1 : 0
            count++
            for (const [k, value] of expected.entries()) {
              signal += value ** 2
              noise += (value - (row[k] ?? 0)) ** 2
            }
          }
      }
      using vocoderOnly = await load(backend, checkpoint, 'code2wav', type)
      rows.push({
        case: type,
        'logits SNR dB': round(10 * Math.log10(signal / noise)),
        'sampled alike %': round((100 * overlap) / count),
        'same first choice %': round((100 * same) / count),
        'samples SNR dB': round(signalToNoise(await samples(vocoderOnly.model, frames, codebook), wave)),
        frames: frames.length,
      })
    }
    return rows
  },
}
