/**
 * Several spoken replies at once from the whole of Qwen3-Omni-30B-A3B (random 4-bit weights, repacked): how long the
 * others wait for their first word and first audio while one speaks, and whether anybody's audio stops. Weights are
 * placed as in full-size-30b.ts, whose files are used when `OMNISERVE_BENCH_KEEP` has kept them.
 *
 * `OMNISERVE_BENCH_LAYERS=12` takes fewer layers of the thinker, for a machine without 24 GB.
 */

import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'

import type { GenerationRequest } from '../src/contract/index.ts'
import { createLocalEngine } from '../src/engines/local/local-engine.ts'
import { fullSizeConfig, writeFullSize } from './full-size-file.ts'
import { type Benchmark, type BenchmarkContext, round, type Row } from './harness.ts'

type Engine = Awaited<ReturnType<typeof createLocalEngine>>

const frames = 96
const word = 'Please tell me who you are and what you can do. '

/** A spoken reply to a prompt of about `tokens` tokens, different for each number. */
function request(number: number, tokens: number): GenerationRequest {
  const text = `${number}. ${word.repeat(Math.ceil(tokens / 12))}`
  return {
    id: `request ${number}`,
    model: 'full-size',
    messages: [{ role: 'user', content: [{ type: 'text', text }] }],
    sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed: number },
    maxTokens: 24,
    stop: [],
    speech: { voice: 'Ethan' },
  }
}

interface Listened {
  readonly firstText: number
  readonly firstAudio: number
  readonly speech: number
  /** Longest time without audio of a listener who begins at the first, seconds. */
  readonly silence: number
}

/** All in seconds. `onText` is called at the first word. */
async function listen(
  engine: Engine,
  asked: GenerationRequest,
  signal: AbortSignal,
  onText?: () => void,
): Promise<Listened> {
  const begun = performance.now()
  let [firstText, firstAudio, speech, silence] = [0, 0, 0, 0]
  for await (const event of engine.generate(asked, signal)) {
    const now = (performance.now() - begun) / 1000
    if (event.type === 'text-delta' && firstText === 0) {
      firstText = now
      onText?.()
    } else if (event.type === 'audio-delta') {
      if (firstAudio === 0) firstAudio = now
      else silence = Math.max(silence, now - firstAudio - speech)
      speech += event.pcm.length / 24_000
    }
  }
  return { firstText, firstAudio, speech, silence }
}

/** One that speaks, and `others` prompts that come with its first word. */
async function together(engine: Engine, others: number, tokens: number, context: BenchmarkContext): Promise<Row> {
  const { signal } = context
  const begun = performance.now()
  const later: Promise<Listened>[] = []
  const first = await listen(engine, request(0, 12), signal, () => {
    for (let i = 1; i <= others; i++) later.push(listen(engine, request(i, tokens), signal))
  })
  const rest = await Promise.all(later)
  const wall = (performance.now() - begun) / 1000
  const all = [first, ...rest]
  const largest = (of: (one: Listened) => number, ones = all): number => round(Math.max(0, ...ones.map(of)))
  return {
    case: others === 0 ? 'one alone' : `${others} with prompts of ${tokens} tokens come while one speaks`,
    'first text s, slowest': largest((one) => one.firstText),
    'first audio s, slowest': largest((one) => one.firstAudio),
    'speech s': round(all.reduce((sum, { speech }) => sum + speech, 0)),
    'RTF of all': round(wall / all.reduce((sum, { speech }) => sum + speech, 0)),
    "silence of the first's listener s": round(first.silence),
    "longest of the others' s": largest((one) => one.silence, rest),
  }
}

export const benchmark: Benchmark = {
  name: 'full-size-together',
  title: 'several spoken replies at once from the whole Qwen3-Omni-30B-A3B geometry with random 4-bit weights',
  long: true,
  async run(context) {
    const { directory, signal } = context
    const layers = process.env['OMNISERVE_BENCH_LAYERS']
    const path = join(directory, `full-size-30b${layers === undefined ? '' : `-${layers}`}.gguf`)
    const weights = join(directory, 'weights')
    const kept = process.env['OMNISERVE_BENCH_KEEP'] !== undefined
    try {
      if (!existsSync(path))
        await writeFullSize(
          path,
          'q4_0',
          signal,
          fullSizeConfig(layers === undefined ? {} : { layers: Number(layers) }),
        )
      const engine = await createLocalEngine({
        checkpoint: path,
        id: 'full-size',
        device: 'cpu',
        signal,
        cacheDirectory: weights,
        contextLength: 4096,
        maxSpeechFrames: frames,
        hangMilliseconds: 600_000,
        onLog: (text) => context.log(text),
      })
      try {
        const rows: Row[] = []
        const cases = [
          [0, 12],
          [3, 12],
          [1, 500],
        ] as const
        for (const [others, tokens] of context.quick ? cases.slice(0, 2) : cases) {
          rows.push(await together(engine, others, tokens, context))
          context.log(`  ${JSON.stringify(rows.at(-1))}`)
        }
        return rows
      } finally {
        await engine.close()
      }
    } finally {
      const made = [path, `${path}.partial`, weights]
      if (!kept) await Promise.all(made.map((one) => rm(one, { force: true, recursive: true })))
    }
  },
}
