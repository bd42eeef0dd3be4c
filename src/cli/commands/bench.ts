/** `omniserve bench`: measures a checkpoint's speed on this machine, as a client of the API. */
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import type { EngineModel } from '../../contract/index.ts'
import type { RequestMetrics } from '../../engines/local/local-engine.ts'
import { SPEECH_RATE } from '../../media/encode/encode-speech.ts'
import { encodeWav } from '../../media/wav.ts'
import type { ChatCompletionRequest, UserPart } from '../../protocol/index.ts'
import { ask, type Reply, textRate } from '../ask.ts'
import { defaultVoice } from '../chat-settings.ts'
import type { ApiConnection } from '../api-connection.ts'
import { connect } from '../connect.ts'
import { CommandError, EXIT, EXIT_HELP } from '../exit.ts'
import { interruptSignal } from '../interrupt.ts'
import { addConnectionOptions, addRunOptions, type ConnectionFlags, integerFrom, settingFlags } from '../options.ts'
import { bytesText, exitOnClosedPipe, note, print, printJson, table } from '../output.ts'
import type { StageReport } from '../stage-report.ts'

interface BenchFlags extends ConnectionFlags {
  readonly model: string
  readonly runs: number
  readonly maxTokens: number
  readonly profile?: boolean
  readonly json?: boolean
}

interface Case {
  readonly name: string
  readonly content: readonly UserPart[]
  readonly speaks: boolean
}

interface CaseResult {
  readonly case: string
  readonly runs: number
  readonly prompt_tokens: number
  readonly text_tokens: number
  /** Medians, milliseconds. */
  readonly first_token_ms: number | null
  readonly first_audio_ms: number | null
  readonly total_ms: number
  /** Text tokens per second after the first read; null if the text came in one or two reads. */
  readonly text_tokens_per_second: number | null
  readonly speech_seconds: number | null
  /** Time to generate speech divided by its duration; below 1 is faster than playback. */
  readonly real_time_factor: number | null
  /** Only with --profile. */
  readonly profile?: StageReport
}

export function addBenchCommand(program: Command): void {
  const command = program
    .command('bench')
    .description('Measure how fast a checkpoint answers on this machine')
    .option('--model <name>', 'API model', 'qwen3-omni-flash')
    .option('--runs <number>', 'runs per case, after one warm-up run', integerFrom(1), 3)
    .option('--max-tokens <tokens>', 'maximum number of text tokens per reply', integerFrom(2), 48)
    .option('--profile', 'show the time of each stage of each case')
    .option('--json', 'print JSON')
  addRunOptions(addConnectionOptions(command))
  command
    .addHelpText(
      'after',
      `
Times are medians as a client sees them, from sending the request to the first token, the first
audio and the end.

Examples:
  omniserve bench
  omniserve bench --checkpoint omni.gguf --runs 5 --json
  omniserve bench --profile
  omniserve bench --url http://127.0.0.1:8000
${EXIT_HELP}`,
    )
    .action(async (flags: BenchFlags) => bench(flags))
}

async function bench(flags: BenchFlags): Promise<void> {
  exitOnClosedPipe()
  const signal = interruptSignal()
  const [{ createProgress }, { MetricsQueue, stageLines, stageReport }] = await Promise.all([
    import('../progress.ts'),
    import('../stage-report.ts'),
  ])
  const startedAt = performance.now()
  if (flags.profile === true && flags.url !== undefined) {
    throw new CommandError(
      '--profile works only for a checkpoint that runs here; a server writes the same to its log with --log-level debug',
      EXIT.usage,
    )
  }
  const metricsQueue = flags.profile === true ? new MetricsQueue() : undefined
  await using api = await connect({
    ...flags,
    flags: settingFlags(flags),
    load: true,
    onMetrics: metricsQueue?.push,
    signal,
  })
  const loadSeconds = api.remote ? null : (performance.now() - startedAt) / 1000
  const model = (await api.engines.values().next().value?.models())?.[0]
  const peak = new PeakMemory(api)
  const cases = await casesFor(model)
  const results: CaseResult[] = []
  // Progress lines are not useful for such a short run.
  const progress = process.stderr.isTTY ? createProgress('count') : undefined
  const total = cases.length * (flags.runs + 1)
  let done = 0
  try {
    for (const { name, content, speaks } of cases) {
      const replies: Reply[] = []
      const metrics: RequestMetrics[] = []
      for (let run = 0; run <= flags.runs; run += 1) {
        progress?.update(done, total, name)
        const reply = await ask(api, bodyFor(flags, content, speaks), {}, signal)
        const report = await metricsQueue?.next(signal)
        // The first run warms up caches and decoders.
        if (run > 0) replies.push(reply)
        if (run > 0 && report) metrics.push(report)
        await peak.update()
        done += 1
      }
      const clientTimes = replies.map(({ times }) => times.total)
      results.push({
        ...summary(name, replies, speaks),
        ...(metricsQueue && { profile: stageReport(metrics, clientTimes) }),
      })
    }
    progress?.update(done, total, '')
  } finally {
    progress?.stop()
  }
  const facts = {
    target: api.name,
    weights: model?.weights ?? null,
    device: model?.device ?? null,
    load_seconds: loadSeconds,
    peak_memory_bytes: peak.bytes,
  }
  if (flags.json === true) {
    printJson({ ...facts, cases: results })
    return
  }
  const where = model === undefined ? '' : `: ${model.weights} on ${model.device}`
  print(`${api.name}${where}`)
  print(
    table(
      ['CASE', 'PROMPT', 'FIRST TOKEN', 'FIRST AUDIO', 'TOTAL', 'TEXT', 'SPEECH', 'RTF'],
      results.map((row) => [
        row.case,
        `${row.prompt_tokens} tokens`,
        milliseconds(row.first_token_ms),
        milliseconds(row.first_audio_ms),
        milliseconds(row.total_ms),
        row.text_tokens_per_second === null ? '-' : `${row.text_tokens_per_second.toFixed(1)} tok/s`,
        row.speech_seconds === null ? '-' : `${row.speech_seconds.toFixed(2)} s`,
        row.real_time_factor === null ? '-' : row.real_time_factor.toFixed(2),
      ]),
    ),
  )
  for (const { case: name, profile } of results) {
    if (profile) print(`\n${table([name.toUpperCase(), 'MEAN', 'SHARE'], stageLines(profile))}`)
  }
  const loaded = loadSeconds === null ? '' : `started in ${loadSeconds.toFixed(2)} s, `
  if (peak.bytes !== null) print(`${loaded}peak memory of the engine ${bytesText(peak.bytes)}`)
  note(
    `${flags.runs === 1 ? '1 run' : `medians of ${flags.runs} runs`}, at most ${flags.maxTokens} text tokens per reply`,
  )
}

/** One case per modality of the checkpoint. A server on another machine is assumed to have all. */
async function casesFor(model: EngineModel | undefined): Promise<Case[]> {
  const speaks = model === undefined || model.output.includes('audio')
  const accepts = (kind: 'image' | 'audio'): boolean => model === undefined || model.input.includes(kind)
  const text = question('Tell me about yourself, and then tell me a story.')
  return [
    { name: 'text', content: [text], speaks: false },
    ...(speaks ? [{ name: 'text to speech', content: [text], speaks: true }] : []),
    ...(accepts('image')
      ? [{ name: 'image', content: [await testImage(), question('What is this?')], speaks: false }]
      : []),
    ...(accepts('audio')
      ? [{ name: 'audio', content: [testAudio(), question('What do you hear?')], speaks: false }]
      : []),
  ]
}

function question(text: string): UserPart {
  return { type: 'text', text }
}

/** A red disc on white, 448 pixels wide: 196 image tokens. */
async function testImage(): Promise<UserPart> {
  const disc =
    '<svg xmlns="http://www.w3.org/2000/svg" width="448" height="448"><rect width="448" height="448" fill="#fff"/><circle cx="224" cy="224" r="150" fill="#d22"/></svg>'
  const { default: sharp } = await import('sharp')
  const png = await sharp(Buffer.from(disc)).png().toBuffer()
  return { type: 'image_url', image_url: { url: `data:image/png;base64,${png.toString('base64')}` } }
}

/** Four seconds of a tone with rising amplitude. */
function testAudio(): UserPart {
  const rate = 16_000
  const samples = Float32Array.from(
    { length: 4 * rate },
    (_, i) => 0.4 * Math.sin((2 * Math.PI * 440 * i) / rate) * (i / (4 * rate)),
  )
  return {
    type: 'input_audio',
    input_audio: { data: `data:;base64,${Buffer.from(encodeWav(samples, rate)).toString('base64')}` },
  }
}

function bodyFor(flags: BenchFlags, content: readonly UserPart[], speaks: boolean): ChatCompletionRequest {
  return {
    model: flags.model,
    messages: [{ role: 'user', content: [...content] }],
    modalities: speaks ? ['text', 'audio'] : ['text'],
    ...(speaks && { audio: { voice: defaultVoice(flags.model), format: 'wav' } }),
    max_tokens: flags.maxTokens,
    temperature: 0,
    seed: 1,
  }
}

function textTokens({ usage }: Reply): number {
  return usage?.completion_tokens_details?.text_tokens ?? 0
}

function summary(name: string, replies: readonly Reply[], speaks: boolean): CaseResult {
  const firstToken = median(replies.map(({ times }) => times.firstToken))
  const totalTime = median(replies.map(({ times }) => times.total)) ?? 0
  const speechSeconds = speaks ? median(replies.map(({ samples }) => samples / SPEECH_RATE)) : null
  const rate = speaks
    ? null
    : // Fewer than five tokens are too few for a rate.
      median(replies.map((reply) => (textTokens(reply) < 5 ? null : textRate(textTokens(reply), reply.pace))))
  return {
    case: name,
    runs: replies.length,
    prompt_tokens: replies[0]?.usage?.prompt_tokens ?? 0,
    text_tokens: median(replies.map(textTokens)) ?? 0,
    first_token_ms: firstToken,
    first_audio_ms: speaks ? median(replies.map(({ times }) => times.firstAudio)) : null,
    total_ms: totalTime,
    text_tokens_per_second: rate,
    speech_seconds: speechSeconds,
    real_time_factor: speechSeconds === null || speechSeconds === 0 ? null : totalTime / 1000 / speechSeconds,
  }
}

/** Median of the values that are not null; null if there are none. */
function median(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null).toSorted((a, b) => a - b)
  return known[Math.floor((known.length - 1) / 2)] ?? null
}

function milliseconds(value: number | null): string {
  return value === null ? '-' : `${Math.round(value)} ms`
}

/** Peak resident memory of the engine processes. */
class PeakMemory {
  readonly #api: ApiConnection
  bytes: number | null = null

  constructor(api: ApiConnection) {
    this.#api = api
  }

  async update(): Promise<void> {
    let sum = 0
    for (const engine of new Set(this.#api.engines.values())) {
      const id = 'processId' in engine && typeof engine.processId === 'number' ? engine.processId : undefined
      if (id === undefined) return
      sum += await peakOf(id)
    }
    if (sum > 0) this.bytes = Math.max(this.bytes ?? 0, sum)
  }
}

/** Peak resident memory of a process, bytes, from Linux; 0 on other systems. */
async function peakOf(processId: number): Promise<number> {
  try {
    const text = await readFile(`/proc/${processId}/status`, 'utf8')
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}
