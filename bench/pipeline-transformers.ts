/**
 * A whole reply, text and speech, here and in transformers on the CPU: the same random checkpoint of 260 million
 * parameters, the same prompt, 48 text tokens and 100 codec frames (8 s of speech), both greedy, alternating in one
 * run.
 *
 * Needs Python with `reference/requirements.txt` for the peer and to make the checkpoint; fails with a message when it
 * is missing. transformers returns no audio before the end. `OMNISERVE_BENCH_MIDDLE` names an existing folder.
 */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

import type { GenerationRequest } from '../src/contract/index.ts'
import { createLocalEngine, type LocalEngine } from '../src/engines/local/local-engine.ts'
import type { WeightType } from '../src/weights/index.ts'
import { type Benchmark, median, round, type Row } from './harness.ts'
import { peakOf } from './speech-client.ts'

const prompt = 'Describe the sound of the band.'
const textTokens = 48
const frames = 100

interface Timing {
  readonly textTokens: number
  readonly samples: number
  readonly secondsToFirstToken: number
  readonly secondsToFirstAudio: number
  readonly secondsTotal: number
  readonly peakBytes: number
}

/** Runs a module of the reference and returns its output. */
async function python(signal: AbortSignal, ...args: readonly string[]): Promise<string> {
  const child = spawn(process.env['PYTHON'] ?? 'python3', ['-m', ...args], {
    cwd: join(import.meta.dirname, '..', 'reference'),
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  })
  let [output, errors] = ['', '']
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (errors += bytes.toString()))
  const code = await new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject))
  if (code !== 0) {
    throw new Error(
      `python -m ${args[0]} ended with ${code}; this benchmark needs Python with reference/requirements.txt (PYTHON names ` +
        `another interpreter).\n${errors.split('\n').slice(-6).join('\n')}`,
    )
  }
  return output
}

async function peer(folder: string, dtype: string, threads: number, signal: AbortSignal): Promise<Timing> {
  const counts = ['--text-tokens', String(textTokens), '--frames', String(frames), '--threads', String(threads)]
  const output = await python(
    signal,
    'omniserve_reference.time_generate',
    folder,
    ...counts,
    '--dtype',
    dtype,
    '--prompt',
    prompt,
  )
  const timing: unknown = JSON.parse(output.trim().split('\n').at(-1) ?? '')
  return timing as Timing
}

const request = (id: string): GenerationRequest => ({
  id,
  model: 'middle',
  messages: [{ role: 'user', content: [{ type: 'text', text: prompt }] }],
  sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed: 1 },
  maxTokens: textTokens,
  stop: [],
  speech: { voice: 'Ethan' },
})

async function ours(engine: LocalEngine, id: string, signal: AbortSignal): Promise<Timing> {
  const begun = performance.now()
  const since = (): number => (performance.now() - begun) / 1000
  let [first, audio, samples, tokens] = [0, 0, 0, 0]
  for await (const event of engine.generate(request(id), signal)) {
    if (event.type === 'text-delta') first ||= since()
    else if (event.type === 'audio-delta') {
      audio ||= since()
      samples += event.pcm.length
    } else if (event.type === 'end') tokens = event.usage.textTokens ?? 0
  }
  return {
    textTokens: tokens,
    samples,
    secondsToFirstToken: first,
    secondsToFirstAudio: audio,
    secondsTotal: since(),
    peakBytes: peakOf(engine.processId ?? 0),
  }
}

/** The median of several runs, as a row. */
function row(name: string, runs: readonly Timing[]): Row {
  const of = (read: (timing: Timing) => number): number => median(runs.map(read))
  return {
    case: name,
    tokens: of((t) => t.textTokens),
    'speech s': round(of((t) => t.samples / 24_000)),
    'first token s': round(of((t) => t.secondsToFirstToken)),
    'first audio s': round(of((t) => t.secondsToFirstAudio)),
    'total s': round(of((t) => t.secondsTotal)),
    RTF: round(of((t) => t.secondsTotal / (t.samples / 24_000))),
    'peak GB': round(of((t) => t.peakBytes / 1e9)),
  }
}

export const benchmark: Benchmark = {
  name: 'pipeline-transformers',
  title: 'a whole reply, text and speech, against transformers on the CPU',
  long: true,
  run: async (context) => {
    const { directory, quick, signal } = context
    const folder = process.env['OMNISERVE_BENCH_MIDDLE'] ?? join(directory, 'mid')
    if (!existsSync(join(folder, 'config.json'))) {
      context.log('  making the checkpoint')
      await python(signal, 'omniserve_reference.make_mid_checkpoint', folder)
    }
    const threads = availableParallelism()
    const kinds: readonly (WeightType | undefined)[] = quick ? [undefined, 'q8_0'] : [undefined, 'f32', 'q8_0']
    const dtypes = quick ? ['float32'] : ['float32', 'bfloat16']
    const here = new Map<string, Timing[]>()
    const there = new Map<string, Timing[]>()
    for (let turn = 0; turn < (quick ? 1 : 3); turn++) {
      for (const kind of kinds) {
        const name = `omniserve, ${kind ?? 'as stored (bf16)'}`
        const engine = await createLocalEngine({
          checkpoint: folder,
          id: 'middle',
          device: 'cpu',
          threads,
          maxSpeechFrames: frames + 1,
          signal,
          ...(kind && { types: { type: kind } }),
        })
        try {
          await ours(engine, 'warm', signal)
          here.set(name, [...(here.get(name) ?? []), await ours(engine, 'timed', signal)])
        } finally {
          await engine.close()
        }
      }
      for (const dtype of dtypes) {
        const name = `transformers, ${dtype}`
        there.set(name, [...(there.get(name) ?? []), await peer(folder, dtype, threads, signal)])
      }
      context.log(`  turn ${turn + 1} done`)
    }
    const rows = [...here, ...there].map(([name, runs]) => row(name, runs))
    // Against the faster of the peer's, per second of speech: replies may end a token apart.
    const perSecond = (t: Timing): number => t.secondsTotal / t.samples
    const bestPeer = Math.min(...[...there.values()].map((runs) => median(runs.map(perSecond))))
    const peerAudio = Math.min(...[...there.values()].map((runs) => median(runs.map((t) => t.secondsToFirstAudio))))
    for (const [name, runs] of here) {
      rows.push({
        case: `${name}: times faster`,
        'first audio s': round(peerAudio / median(runs.map((t) => t.secondsToFirstAudio))),
        'total s': round(bestPeer / median(runs.map(perSecond))),
      })
    }
    return rows
  },
}
