/**
 * The whole of Qwen3-Omni-30B-A3B with random 4-bit weights, as `omniserve serve` runs it: the weights are placed by
 * the same decision, so that on a machine of 24 GB they are repacked once, kept on disk and mapped.
 *
 * Results are printed with their limits, and `of limit` is the ratio (see full-size-limits.ts). The file (about
 * 20 GB) and the repacked weights are written once per run and deleted; `OMNISERVE_BENCH_KEEP` keeps them,
 * `OMNISERVE_BENCH_DIR` is their folder, `FULL_SIZE_PARTS` names parts of `start,replies,short,served`. `--quick`
 * runs the same on fewer layers and experts, `FULL_SIZE_LAYERS` on so many layers of the thinker, for machines with
 * less memory.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import type { EngineEvent, GenerationRequest } from '../src/contract/index.ts'
import { createLocalEngine, type LocalEngine } from '../src/engines/local/local-engine.ts'
import { FileMapping } from '../src/tensor/index.ts'
import { fullSizeConfig, writeFullSize } from './full-size-file.ts'
import { type Limits, limitsOf, measureSpeeds } from './full-size-limits.ts'
import { type Benchmark, type BenchmarkContext, type Row, round } from './harness.ts'
import { ask, startServer } from './speech-client.ts'

const GB = 1e9
const SAMPLES = 24_000
/** Frames a second. */
const FRAMES = 12.5
const textTokens = 24
const frames = 96
const fewFrames = 12

const hello = 'Hello! Please tell me who you are.'
const long = Array.from({ length: 50 }, (_, i) => `Item ${i} of ${i * 7}.`).join(' ')

function request(id: string, text: string, maxTokens: number, speech: boolean, seed = 1): GenerationRequest {
  return {
    id,
    model: 'full-size',
    messages: [{ role: 'user', content: [{ type: 'text', text }] }],
    sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed },
    maxTokens,
    stop: [],
    ...(speech && { speech: { voice: 'Ethan' } }),
  }
}

interface Times {
  /** Seconds from the request. */
  readonly firstText: number
  readonly firstAudio: number
  readonly whole: number
  readonly rate: number
  readonly promptTokens: number
  readonly speech: number
}

/** A measurement and its theoretical limit. */
interface Measured {
  readonly measured: number
  readonly limit?: number
}

class Bench {
  readonly #context: BenchmarkContext
  readonly #path: string
  readonly #weights: string
  readonly #limits: Limits
  readonly rows: Row[] = []

  constructor(context: BenchmarkContext, path: string, limits: Limits) {
    this.#context = context
    this.#path = path
    this.#weights = join(context.directory, 'weights')
    this.#limits = limits
  }

  /** Adds a row for each result; `note` goes with the first. */
  add(what: string, results: Readonly<Record<string, number | Measured>>, note?: string): void {
    for (const [index, [name, given]] of Object.entries(results).entries()) {
      const { measured, limit } = typeof given === 'number' ? { measured: given } : given
      const row: Row = {
        case: index === 0 ? what : '',
        result: name,
        measured,
        ...(limit !== undefined && { limit, 'of limit': measured / limit }),
        ...(note !== undefined && index === 0 && { note }),
      }
      this.rows.push(row)
      this.#context.log(`  ${what}: ${name} ${round(measured)}${limit === undefined ? '' : `, limit ${round(limit)}`}`)
    }
    if (note !== undefined) this.#context.log(`  ${note}`)
  }

  async open(maxSpeechFrames: number): Promise<LocalEngine & AsyncDisposable> {
    const engine = await createLocalEngine({
      checkpoint: this.#path,
      id: 'full-size',
      device: 'cpu',
      signal: this.#context.signal,
      cacheDirectory: this.#weights,
      contextLength: 2048,
      maxSpeechFrames,
      hangMilliseconds: 600_000,
      onLog: (line) => this.#context.log(`  ${line}`),
    })
    return Object.assign(engine, { [Symbol.asyncDispose]: () => engine.close() })
  }

  /**
   * The first start, which repacks, and later ones: from a disk none of whose pages are in memory, and when all of
   * them are.
   */
  async start(): Promise<void> {
    for (const what of ['first start', 'start from cold disk', 'start from warm disk']) {
      const free = process.availableMemory() / GB
      if (what === 'start from cold disk') await this.#forget()
      const begun = performance.now()
      await using engine = await this.open(frames)
      const seconds = (performance.now() - begun) / 1000
      const { chosen = '', faster } = engine.placement ?? {}
      const resident = statusOf(engine.processId)['VmRSS'] ?? 0
      const note = faster === undefined ? chosen : `${chosen}. Faster: ${faster}`
      this.add(what, { 's until ready': seconds, 'GB free before': free, 'GB resident': resident / GB }, note)
    }
  }

  async replies(): Promise<void> {
    const { token, frame, prefill } = this.#limits
    await using engine = await this.open(frames)
    await this.#time(engine, request('warm', hello, 4, true))
    const text = await this.#time(engine, request('text', hello, textTokens, false))
    const prompt = prefill(text.promptTokens) / 1000
    this.add(`text, prompt of ${text.promptTokens} tokens, ${textTokens} tokens`, {
      'first text, s': { measured: text.firstText, limit: prompt },
      'tokens/s': { measured: text.rate, limit: 1000 / token },
    })
    // Random weights end some replies early; then another seed is used.
    let spoken = await this.#time(engine, request('speech', hello, textTokens, true))
    for (let seed = 2; seed <= 6 && spoken.speech * FRAMES < frames - 2; seed++)
      spoken = await this.#time(engine, request('speech', hello, textTokens, true, seed))
    const made = spoken.speech * FRAMES
    const least = prompt + (textTokens * token + made * frame) / 1000
    this.add(`text and speech, ${textTokens} tokens, ${Math.round(made)} frames`, {
      'first text, s': { measured: spoken.firstText, limit: prompt },
      'first audio, s': { measured: spoken.firstAudio, limit: prompt + (token + 2 * frame) / 1000 },
      'real-time factor': { measured: spoken.whole / spoken.speech, limit: least / spoken.speech },
    })
    const reading = await this.#time(engine, request('prefill', long, 1, false))
    const { promptTokens, firstText } = reading
    this.add(`prefill of ${promptTokens} tokens`, {
      'tokens/s': { measured: promptTokens / firstText, limit: (1000 * promptTokens) / prefill(promptTokens) },
    })
    const begun = performance.now()
    const four = await Promise.all(
      [1, 2, 3, 4].map((i) => this.#time(engine, request(`four ${i}`, `${hello} I am number ${i}.`, textTokens, true))),
    )
    const wall = (performance.now() - begun) / 1000
    this.add('four spoken replies at once', {
      'slowest first text, s': Math.max(...four.map((one) => one.firstText)),
      'slowest first audio, s': Math.max(...four.map((one) => one.firstAudio)),
      'real-time factor of all': wall / four.reduce((sum, one) => sum + one.speech, 0),
    })
    const { VmHWM = 0, RssAnon = 0 } = statusOf(engine.processId)
    this.add('memory', { 'GB resident at most': VmHWM / GB, 'GB of it not in files': RssAnon / GB })
  }

  /** A spoken reply of 8 tokens. */
  async short(): Promise<void> {
    await using engine = await this.open(fewFrames)
    await this.#time(engine, request('warm', hello, 4, true))
    const { firstText, firstAudio, speech, whole } = await this.#time(engine, request('short', hello, 8, true))
    this.add(`text and speech, 8 tokens, ${Math.round(speech * FRAMES)} frames`, {
      'first text, s': firstText,
      'first audio, s': firstAudio,
      'real-time factor': whole / speech,
    })
  }

  /** A spoken reply through `omniserve serve`, with its speech prompt, as a client sees it. */
  async served(): Promise<void> {
    const { directory, signal, quick } = this.#context
    const begun = performance.now()
    await using server = await startServer(this.#path, ['--device', 'cpu'], { OMNISERVE_HOME: directory })
    this.add('omniserve serve', { 's until ready': (performance.now() - begun) / 1000 })
    const body = (maxTokens: number): Record<string, unknown> => ({
      model: 'qwen3-omni-flash',
      messages: [{ role: 'user', content: hello }],
      modalities: ['text', 'audio'],
      audio: { voice: 'Cherry', format: 'wav' },
      max_tokens: maxTokens,
      seed: 1,
    })
    await ask(server, body(1), signal)
    // A reply may take 100 frames, and 25 for each token: 48 s here.
    const reply = await ask(server, body(quick ? 2 : 20), signal)
    this.add(`as served, a spoken reply of ${round(reply.audioSeconds)} s`, {
      'first text, s': reply.firstText / 1000,
      'first audio, s': reply.firstAudio / 1000,
      'real-time factor': reply.total / 1000 / reply.audioSeconds,
      'longest silence, s': reply.silence / 1000,
    })
  }

  /** Makes the system read the file and the repacked weights from disk again. */
  async #forget(): Promise<void> {
    const kept = existsSync(this.#weights)
      ? (await readdir(this.#weights)).map((name) => join(this.#weights, name))
      : []
    for (const path of [this.#path, ...kept]) {
      using mapping = FileMapping.open(path)
      mapping.evict(0, mapping.size)
    }
  }

  async #time(engine: LocalEngine, asked: GenerationRequest): Promise<Times> {
    return timed(engine.generate(asked, this.#context.signal))
  }
}

async function timed(events: AsyncIterable<EngineEvent>): Promise<Times> {
  const begun = performance.now()
  const since = (): number => (performance.now() - begun) / 1000
  let [firstText, lastText, firstAudio, tokens, samples, promptTokens] = [0, 0, 0, 0, 0, 0]
  for await (const event of events) {
    if (event.type === 'start') promptTokens = event.prompt?.total ?? 0
    else if (event.type === 'text-delta') {
      firstText ||= since()
      lastText = since()
    } else if (event.type === 'audio-delta') {
      firstAudio ||= since()
      samples += event.pcm.length
    } else if (event.type === 'end') {
      tokens = event.usage.textTokens ?? 0
      // A token that is part of a character has no text delta of its own.
      firstText ||= since()
    }
  }
  return {
    firstText,
    firstAudio,
    whole: since(),
    rate: tokens > 1 && lastText > firstText ? (tokens - 1) / (lastText - firstText) : 0,
    promptTokens,
    speech: samples / SAMPLES,
  }
}

/** Bytes, of Linux; empty elsewhere. */
function statusOf(id: number | undefined): Record<string, number> {
  const found: Record<string, number> = {}
  try {
    const text = readFileSync(`/proc/${id}/status`, 'utf8')
    for (const name of ['VmHWM', 'VmRSS', 'RssAnon'])
      found[name] = Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1] ?? 0) * 1024
  } catch {
    // Other systems report no memory.
  }
  return found
}

export const benchmark: Benchmark = {
  name: 'full-size-30b',
  title: 'the whole Qwen3-Omni-30B-A3B geometry with random 4-bit weights, as served, answers in text and speech',
  long: true,
  run: async (context) => {
    const { directory, signal, quick } = context
    const asked = process.env['FULL_SIZE_LAYERS']
    const layers = asked === undefined ? (quick ? 4 : undefined) : Number(asked)
    const size = { small: quick, ...(layers !== undefined && { layers }) }
    const name = `full-size-${quick ? 'small' : '30b'}${layers === undefined ? '' : `-${layers}`}.gguf`
    const path = join(directory, name)
    const kept = process.env['OMNISERVE_BENCH_KEEP'] !== undefined
    const parts = process.env['FULL_SIZE_PARTS']?.split(',') ?? ['start', 'replies', 'short', 'served']
    // If memory runs out, the system kills this process and its children first.
    if (process.platform === 'linux') writeFileSync('/proc/self/oom_score_adj', '1000')
    const config = fullSizeConfig(size)
    try {
      const begun = performance.now()
      const file = kept && existsSync(path) ? undefined : await writeFullSize(path, 'q4_0', signal, config)
      const seconds = (performance.now() - begun) / 1000
      const speeds = await measureSpeeds()
      const limits = limitsOf(config, 'q4_0', speeds)
      const bench = new Bench(context, path, limits)
      if (file)
        bench.add('file', { GB: file.bytes / GB, 'billion weights': file.parameters / 1e9, 's to write': seconds })
      bench.add('limits', {
        'GB/s read': speeds.bandwidth / GB,
        'GB/s read by products of one column': speeds.column / GB,
        'GMAC/s in q4_0': speeds.narrow / GB,
        'GMAC/s in q8_0': speeds.fine / GB,
        'GB per text token': limits.bytesPerToken / GB,
        'GB per frame': limits.bytesPerFrame / GB,
        'ms per frame': limits.frame,
      })
      if (parts.includes('start')) await bench.start()
      if (parts.includes('replies')) await bench.replies()
      if (parts.includes('short')) await bench.short()
      if (parts.includes('served')) await bench.served()
      return bench.rows
    } finally {
      const made = [path, `${path}.partial`, join(directory, 'weights')]
      if (!kept) await Promise.all(made.map((one) => rm(one, { force: true, recursive: true })))
    }
  },
}
