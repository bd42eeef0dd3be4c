/**
 * Effect of quantised weights: next-token distributions and audio of every type against f32, on fixed tokens and codes.
 *
 * The checkpoint is `models/nano`, else `testdata/checkpoints/tiny-moe`, or the folder in `OMNISERVE_BENCH_CHECKPOINT`.
 * Token sequences are its own greedy replies in f32 to fixed questions, with teacher forcing. Types follow the rules of
 * `omniserve convert`: the same weights keep 8 bits.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { type Qwen3OmniModel, qwen3Omni } from '../src/models/qwen3-omni/model.ts'
import { createQwen3Prompt } from '../src/models/qwen3-omni/prompt/prompt-builder.ts'
import { readCheckpointFiles } from '../src/prompt/checkpoint-files.ts'
import { type Backend, loadBackend } from '../src/tensor/index.ts'
import { type Checkpoint, loadParameters, openCheckpoint, type WeightType, weightTypes } from '../src/weights/index.ts'
import { type Benchmark, round, type Row } from './harness.ts'

const root = join(import.meta.dirname, '..')
const questions = [
  'Who are you?',
  'What can you do?',
  'Tell me a short story about the sea.',
  'Count from one to ten.',
  'What is the capital of France?',
  'Say something kind.',
  'How does rain come about?',
  'Please repeat: the quick brown fox jumps over the lazy dog.',
]
const replyTokens = 40

interface Loaded extends Disposable {
  readonly model: Qwen3OmniModel
  readonly bytes: number
}

async function load(backend: Backend, checkpoint: Checkpoint, type: WeightType): Promise<Loaded> {
  const description = qwen3Omni.read(await readCheckpointFiles(checkpoint))
  const { naming, declarations } = description
  const weights = await loadParameters(backend, checkpoint, declarations, { naming, types: { type } })
  const model = description.build(backend, weights, { cacheType: 'f32' })
  const { mapped, copied, repacked } = weights.bytes
  return {
    model,
    bytes: mapped + copied + repacked,
    [Symbol.dispose]() {
      model[Symbol.dispose]()
      weights[Symbol.dispose]()
    },
  }
}

/** Three equal rows of positions: text only. */
function positionsOf(from: number, count: number): Float32Array {
  return Float32Array.from({ length: 3 * count }, (_, i) => from + (i % count))
}

function argmax(values: Float32Array): number {
  let best = 0
  for (let i = 1; i < values.length; i++) if ((values[i] ?? 0) > (values[best] ?? 0)) best = i
  return best
}

/** Log-probabilities, in place of logits. */
function logSoftmax(logits: Float32Array): Float32Array {
  let most = Number.NEGATIVE_INFINITY
  for (const value of logits) most = Math.max(most, value)
  let sum = 0
  for (const value of logits) sum += Math.exp(value - most)
  const shift = most + Math.log(sum)
  return logits.map((value) => value - shift)
}

async function reply(model: Qwen3OmniModel, prompt: Int32Array, signal: AbortSignal): Promise<Int32Array> {
  const ids = [...prompt]
  using sequence = model.thinker.newSequence(prompt.length + replyTokens)
  let fresh = prompt
  for (let count = 0; count < replyTokens; count++) {
    const positions = positionsOf(ids.length - fresh.length, fresh.length)
    const input = { sequence, tokenIds: fresh, positions, logits: 'last', hidden: false } as const
    const [output] = await model.thinker.forward([input], signal)
    if (!output?.logits) throw new Error('the thinker gave no logits')
    const id = argmax(output.logits)
    ids.push(id)
    fresh = Int32Array.of(id)
  }
  return Int32Array.from(ids)
}

/** Log-probabilities after every token of the reply but the last: one row each. */
async function judge(
  model: Qwen3OmniModel,
  ids: Int32Array,
  from: number,
  signal: AbortSignal,
): Promise<Float32Array[]> {
  using sequence = model.thinker.newSequence(ids.length)
  const positions = positionsOf(0, ids.length)
  const [output] = await model.thinker.forward(
    [{ sequence, tokenIds: ids, positions, logits: 'all', hidden: false }],
    signal,
  )
  const { vocabSize } = model.thinker
  const logits = output?.logits
  if (!logits) throw new Error('the thinker gave no logits')
  return Array.from({ length: ids.length - from }, (_, i) =>
    logSoftmax(logits.slice((from - 1 + i) * vocabSize, (from + i) * vocabSize)),
  )
}

/** Audio of fixed codes. */
async function audioOf(model: Qwen3OmniModel, codebook: number, signal: AbortSignal): Promise<Float32Array> {
  const groups = model.speech?.config.codeGroups
  if (!model.code2wav || groups === undefined) return new Float32Array()
  using stream = model.code2wav.newStream()
  const codes = Int32Array.from({ length: 24 * groups }, (_, i) => (i * 7919 + ((i * i) % 97)) % codebook)
  return stream.push(codes, { signal })
}

function decibels(expected: Float32Array, actual: Float32Array): number {
  let [signal, noise] = [0, 0]
  for (const [i, value] of expected.entries()) {
    signal += value ** 2
    noise += (value - (actual[i] ?? 0)) ** 2
  }
  return 10 * Math.log10(signal / noise)
}

export const benchmark: Benchmark = {
  name: 'drift-types',
  title: 'drift of quantised weights against f32, by type',
  run: async (context) => {
    const { signal } = context
    const asked = process.env['OMNISERVE_BENCH_CHECKPOINT']
    const nano = join(root, 'models', 'nano')
    const folder = asked ?? (existsSync(nano) ? nano : join(root, 'testdata', 'checkpoints', 'tiny-moe'))
    context.log(`  ${folder}`)
    using backend = await loadBackend({ device: 'cpu', threads: 1 })
    using checkpoint = await openCheckpoint(folder)
    const builder = createQwen3Prompt(await readCheckpointFiles(checkpoint))
    const codebook = codebookOf(checkpoint)
    const prompts: Int32Array[] = []
    for (const text of context.quick ? questions.slice(0, 2) : questions)
      prompts.push((await builder.prepare([{ role: 'user', content: [{ type: 'text', text }] }])).tokenIds)

    const sequences: Int32Array[] = []
    const expected: Float32Array[][] = []
    let wave: Float32Array
    {
      using reference = await load(backend, checkpoint, 'f32')
      for (const prompt of prompts) sequences.push(await reply(reference.model, prompt, signal))
      for (const [i, ids] of sequences.entries())
        expected.push(await judge(reference.model, ids, prompts[i]?.length ?? 1, signal))
      wave = await audioOf(reference.model, codebook, signal)
    }
    const rows: Row[] = []
    for (const type of weightTypes.toReversed()) {
      using loaded = await load(backend, checkpoint, type)
      let [divergence, worst, same, count, loss, lossBefore] = [0, 0, 0, 0, 0, 0]
      for (const [i, ids] of sequences.entries()) {
        const from = prompts[i]?.length ?? 1
        const rowsNow = await judge(loaded.model, ids, from, signal)
        for (const [t, q] of rowsNow.entries()) {
          const p = expected[i]?.[t] ?? q
          let kl = 0
          for (const [v, logP] of p.entries()) kl += Math.exp(logP) * (logP - (q[v] ?? 0))
          divergence += kl
          worst = Math.max(worst, kl)
          if (argmax(p) === argmax(q)) same++
          const next = ids[from + t] ?? 0
          loss -= q[next] ?? 0
          lossBefore -= p[next] ?? 0
          count++
        }
      }
      const waveNow = await audioOf(loaded.model, codebook, signal)
      rows.push({
        case: type,
        MB: round(loaded.bytes / 1e6),
        'KL mean': round(divergence / count),
        'KL worst': round(worst),
        'same first choice %': round((100 * same) / count),
        perplexity: round(Math.exp(loss / count)),
        'times that of f32': round(Math.exp((loss - lossBefore) / count)),
        'audio SNR dB': waveNow.length === 0 ? '' : type === 'f32' ? 'reference' : round(decibels(wave, waveNow)),
        tokens: count,
      })
    }
    return rows
  },
}

function codebookOf({ config }: Checkpoint): number {
  const speech = config['code2wav_config']
  if (typeof speech !== 'object' || speech === null || !('codebook_size' in speech)) return 1
  return Number(speech.codebook_size)
}
