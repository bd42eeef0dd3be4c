/**
 * A whole spoken reply here and in a peer that runs in Python: the same random checkpoint of 260 million parameters,
 * the same prompt, 48 text tokens and 100 codec frames (8 s of speech), both greedy, alternating in one run.
 *
 * In: types of weights, and a peer's ways to give the reply. Out: rows that compare them. `OMNISERVE_BENCH_MIDDLE`
 * names an existing checkpoint folder; without it, Python creates one.
 */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

import type { GenerationRequest } from '../src/contract/index.ts'
import { createLocalEngine, type LocalEngine } from '../src/engines/local/local-engine.ts'
import type { WeightType } from '../src/weights/index.ts'
import { type BenchmarkContext, median, round, type Row } from './harness.ts'
import { peakOf } from './speech-client.ts'

const prompt = 'Describe the sound of the band.'
const textTokens = 48
const frames = 100
const threads = availableParallelism()

interface Timing {
  readonly textTokens: number
  readonly samples: number
  readonly secondsToFirstToken: number
  readonly secondsToFirstAudio: number
  readonly secondsTotal: number
  readonly peakBytes: number
}

/** One side's way to give the reply. */
export interface Way {
  readonly name: string
  /** Gives the reply once, timed. */
  time(): Promise<Timing>
}

/** Runs Python in the reference's folder and returns its output. */
export async function python(
  signal: AbortSignal,
  args: readonly string[],
  {
    interpreter = process.env['PYTHON'] ?? 'python3',
    needs = 'Python with reference/requirements.txt (PYTHON names it)',
  } = {},
): Promise<string> {
  const child = spawn(interpreter, args, {
    cwd: join(import.meta.dirname, '..', 'reference'),
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  })
  let [output, errors] = ['', '']
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (errors += bytes.toString()))
  const code = await new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject))
  if (code !== 0)
    throw new Error(
      `${args.slice(0, 2).join(' ')} ended with ${code}; this benchmark needs ${needs}.\n` +
        errors.split('\n').slice(-6).join('\n'),
    )
  return output
}

/**
 * One timed reply of a peer.
 *
 * @param script of `omniserve_reference`; prints the times as JSON on its last line
 * @param options of the script, after those of every peer
 * @param environment the Python that the script needs, where it is not the reference's own
 */
export async function timePeer(
  script: string,
  folder: string,
  options: readonly string[],
  signal: AbortSignal,
  environment: Parameters<typeof python>[2] = {},
): Promise<Timing> {
  const shared = { prompt, 'text-tokens': textTokens, frames, threads }
  const args = Object.entries(shared).flatMap(([name, value]) => [`--${name}`, String(value)])
  const module = ['-m', `omniserve_reference.${script}`]
  const output = await python(signal, [...module, folder, ...args, ...options], environment)
  const timing: unknown = JSON.parse(output.trim().split('\n').at(-1) ?? '')
  return timing as Timing
}

/** The checkpoint's folder. */
export async function middleCheckpoint(context: BenchmarkContext): Promise<string> {
  const { directory, signal } = context
  const folder = process.env['OMNISERVE_BENCH_MIDDLE'] ?? join(directory, 'mid')
  if (!existsSync(join(folder, 'config.json'))) {
    context.log('  making the checkpoint')
    await python(signal, ['-m', 'omniserve_reference.make_mid_checkpoint', folder])
  }
  return folder
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

/** One timed reply of a new engine, after a warm-up. `kind`: the type of its weights; default: as stored. */
async function timeOurs(folder: string, kind: WeightType | undefined, signal: AbortSignal): Promise<Timing> {
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
    return await ours(engine, 'timed', signal)
  } finally {
    await engine.close()
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

/**
 * Times omniserve, with each type of weights, and the peer's ways in turns. A row for each, and for each of ours how
 * many times faster than the best of the peer's it is.
 *
 * @param kinds types of weights; undefined is as stored
 */
export async function compare(
  context: BenchmarkContext,
  folder: string,
  kinds: readonly (WeightType | undefined)[],
  peers: readonly Way[],
): Promise<Row[]> {
  const here = kinds.map((kind): Way => ({
    name: `omniserve, ${kind ?? 'as stored (bf16)'}`,
    time: () => timeOurs(folder, kind, context.signal),
  }))
  const runs = new Map([...here, ...peers].map((way) => [way, [] as Timing[]]))
  for (let turn = 0; turn < (context.quick ? 1 : 3); turn++) {
    for (const [way, timings] of runs) timings.push(await way.time())
    context.log(`  turn ${turn + 1} done`)
  }
  const middle = (way: Way, read: (timing: Timing) => number): number => median((runs.get(way) ?? []).map(read))
  // Against the fastest of the peer, per second of speech: replies may differ by a token in length.
  const perSecond = (t: Timing): number => t.secondsTotal / t.samples
  const firstAudio = (t: Timing): number => t.secondsToFirstAudio
  const bestPeer = Math.min(...peers.map((way) => middle(way, perSecond)))
  const peerAudio = Math.min(...peers.map((way) => middle(way, firstAudio)))
  return [
    ...[...runs].map(([{ name }, timings]) => row(name, timings)),
    ...here.map((way) => ({
      case: `${way.name}: times faster`,
      'first audio s': round(peerAudio / middle(way, firstAudio)),
      'total s': round(bestPeer / middle(way, perSecond)),
    })),
  ]
}
