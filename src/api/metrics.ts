/** Prometheus metrics of the API server, in a registry of their own. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Cost, Usage } from '../protocol/index.ts'
import type { Admission } from './admission.ts'
import type { EngineHost } from './engine-host.ts'
import type { BodyRoom } from './read-body.ts'

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

/** How long a whole reply took. */
export interface ReplyTimes {
  readonly model: string
  /** Seconds from the request's arrival; undefined when there was none. */
  readonly firstText: number | undefined
  readonly firstAudio: number | undefined
  readonly total: number
  /** Seconds of speech made, and how long making it took from the start of the reply. */
  readonly speechSeconds: number
  readonly speechWall: number
}

export class Metrics {
  readonly registry = new Registry()
  readonly #requests: Counter<'route' | 'model' | 'status'>
  readonly #errors: Counter<'code' | 'status'>
  readonly #tokens: Counter<'model' | 'direction' | 'modality'>
  readonly #cost: Counter<'model' | 'currency'>
  readonly #firstText: Histogram<'model'>
  readonly #firstAudio: Histogram<'model'>
  readonly #duration: Histogram<'model'>
  readonly #rtf: Histogram<'model'>
  readonly #cancelled: Counter<'model'>
  readonly #sessions: Gauge

  constructor() {
    const registers = [this.registry]
    const seconds = (name: string, help: string): Histogram<'model'> =>
      new Histogram({ name, help, labelNames: ['model'], buckets: SECONDS, registers })
    this.#requests = new Counter({
      name: 'omniserve_requests_total',
      help: 'Requests by route, API model and HTTP status.',
      labelNames: ['route', 'model', 'status'],
      registers,
    })
    this.#errors = new Counter({
      name: 'omniserve_errors_total',
      help: 'Errors answered, by code of the error catalogue, whether as HTTP or inside a stream.',
      labelNames: ['code', 'status'],
      registers,
    })
    this.#tokens = new Counter({
      name: 'omniserve_tokens_total',
      help: 'Tokens as billed, by direction (input, output) and modality.',
      labelNames: ['model', 'direction', 'modality'],
      registers,
    })
    this.#cost = new Counter({
      name: 'omniserve_list_price_total',
      help: 'What the hosted service would have billed.',
      labelNames: ['model', 'currency'],
      registers,
    })
    this.#cancelled = new Counter({
      name: 'omniserve_cancelled_total',
      help: 'Requests whose caller went away.',
      labelNames: ['model'],
      registers,
    })
    this.#sessions = new Gauge({
      name: 'omniserve_realtime_sessions',
      help: 'Realtime sessions that are open.',
      registers,
    })
    this.#firstText = seconds('omniserve_time_to_first_token_seconds', 'From arrival to the first text or reasoning.')
    this.#firstAudio = seconds('omniserve_time_to_first_audio_seconds', 'From arrival to the first samples.')
    this.#duration = seconds('omniserve_reply_seconds', 'From arrival to the end of the reply.')
    this.#rtf = new Histogram({
      name: 'omniserve_speech_real_time_factor',
      help: 'Time to make a spoken reply over its length; below 1 is faster than real time.',
      labelNames: ['model'],
      buckets: [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 4, 8],
      registers,
    })
  }

  /** Adds gauges that are read when asked for. */
  watch(admission: Admission, host: EngineHost, bodies: BodyRoom): void {
    const gauge = (name: string, help: string, read: () => number): void => {
      new Gauge({
        name,
        help,
        registers: [this.registry],
        collect() {
          this.set(read())
        },
      })
    }
    gauge('omniserve_queue_active', 'Requests admitted and not yet ended.', () => admission.active)
    gauge('omniserve_queue_waiting', 'Requests waiting in the request queue.', () => admission.waiting)
    gauge('omniserve_body_bytes', 'Bytes of request bodies that are held.', () => bodies.held)
    gauge('omniserve_engine_active', 'Requests the engines are working on.', () => host.status().active)
    gauge('omniserve_engine_waiting', 'Requests waiting inside the engines.', () => host.status().waiting)
    gauge('omniserve_ready', '1 when at least one checkpoint can answer.', () => (host.status().ready ? 1 : 0))
    new Gauge({
      name: 'omniserve_checkpoint_ready',
      help: '1 when this checkpoint can answer.',
      labelNames: ['checkpoint'],
      registers: [this.registry],
      collect() {
        this.reset()
        for (const { checkpoint, ready } of host.checkpoints()) this.set({ checkpoint }, ready ? 1 : 0)
      },
    })
    gauge('process_resident_memory_bytes', 'Resident memory of this process.', () => process.memoryUsage.rss())
    gauge('process_uptime_seconds', 'Seconds since start.', () => process.uptime())
  }

  request(route: string, model: string, status: number): void {
    this.#requests.inc({ route, model, status: String(status) })
  }

  error(code: string | null, status: number): void {
    this.#errors.inc({ code: code ?? 'none', status: String(status) })
  }

  /** One more or one less. */
  realtimeSession(change: 1 | -1): void {
    this.#sessions.inc(change)
  }

  cancelled(model: string): void {
    this.#cancelled.inc({ model })
  }

  /** Counts what a reply was billed for, whole or cut off. */
  usage(model: string, usage: Usage, cost: Cost | undefined): void {
    const add = (direction: string, modality: string, tokens: number | undefined): void => {
      if (tokens !== undefined) this.#tokens.inc({ model, direction, modality }, tokens)
    }
    const input = usage.prompt_tokens_details ?? {}
    const output = usage.completion_tokens_details ?? {}
    add('input', 'text', input.text_tokens)
    add('input', 'image', input.image_tokens)
    add('input', 'audio', input.audio_tokens)
    add('input', 'video', input.video_tokens)
    add('output', 'text', output.text_tokens)
    add('output', 'reasoning', output.reasoning_tokens)
    add('output', 'audio', output.audio_tokens)
    if (cost !== undefined) this.#cost.inc({ model, currency: cost.currency }, cost.total)
  }

  /** Observes the times of a reply that was completed. */
  reply({ model, firstText, firstAudio, total, speechSeconds, speechWall }: ReplyTimes): void {
    if (firstText !== undefined) this.#firstText.observe({ model }, firstText)
    if (firstAudio !== undefined) this.#firstAudio.observe({ model }, firstAudio)
    this.#duration.observe({ model }, total)
    if (speechSeconds > 0) this.#rtf.observe({ model }, speechWall / speechSeconds)
  }
}
