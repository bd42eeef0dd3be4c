/** Prometheus metrics of the API server, in a registry of their own. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { PromptUsage } from '../contract/index.ts'
import type { Cost, Usage } from '../protocol/index.ts'
import type { RequestQueue } from './request-queue.ts'
import type { ClusterEvent } from '../engines/remote/pool/cluster.ts'
import type { ReplicaStatus } from '../engines/remote/pool/member.ts'
import type { ClusterPort } from './cluster-port.ts'
import type { EngineHost } from './engine-host.ts'
import type { BodyMemory } from './read-body.ts'

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

/** Time of a whole reply. */
export interface ReplyTimes {
  readonly model: string
  /** Seconds from the request's arrival; undefined when there was none. */
  readonly firstText: number | undefined
  readonly firstAudio: number | undefined
  readonly total: number
  /** Seconds of generated speech, and the time it took from the start of the reply. */
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
  readonly #prompts: Counter<'checkpoint' | 'cache'>
  readonly #replicaRequests: Counter<'pool' | 'replica' | 'outcome'>
  readonly #replicaFirstToken: Histogram<'pool' | 'replica'>
  readonly #replicaFirstAudio: Histogram<'pool' | 'replica'>
  readonly #poolCost: Counter<'replica' | 'currency'>
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
    this.#prompts = new Counter({
      name: 'omniserve_prompt_tokens_total',
      help: 'Prompt tokens as the checkpoint counts them: reused from the prefix cache (hit) or computed (miss).',
      labelNames: ['checkpoint', 'cache'],
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
    const perReplica = (name: string, help: string): Histogram<'pool' | 'replica'> =>
      new Histogram({ name, help, labelNames: ['pool', 'replica'], buckets: SECONDS, registers })
    this.#replicaFirstToken = perReplica('omniserve_replica_time_to_first_token_seconds', 'From choosing the replica.')
    this.#replicaFirstAudio = perReplica('omniserve_replica_time_to_first_audio_seconds', 'From choosing the replica.')
    this.#replicaRequests = new Counter({
      name: 'omniserve_replica_requests_total',
      help: 'Requests at a replica, by outcome: ok, cancelled, or the code of the error.',
      labelNames: ['pool', 'replica', 'outcome'],
      registers,
    })
    this.#poolCost = new Counter({
      name: 'omniserve_replica_cost_total',
      help: 'What replies cost by the prices of their pool.',
      labelNames: ['replica', 'currency'],
      registers,
    })
    this.#rtf = new Histogram({
      name: 'omniserve_speech_real_time_factor',
      help: 'Time to make a spoken reply over its length; below 1 is faster than real time.',
      labelNames: ['model'],
      buckets: [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 4, 8],
      registers,
    })
  }

  /** Adds gauges that are read on each scrape. */
  watch(queue: RequestQueue, host: EngineHost, bodies: BodyMemory): void {
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
    gauge('omniserve_queue_active', 'Requests admitted and not yet ended.', () => queue.active)
    gauge('omniserve_queue_waiting', 'Requests waiting in the request queue.', () => queue.waiting)
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

  /** Adds a gauge for each known value of a replica. */
  watchCluster(cluster: ClusterPort): void {
    const gauge = (name: string, help: string, read: (replica: ReplicaStatus) => number): void => {
      new Gauge({
        name: `omniserve_replica_${name}`,
        help,
        labelNames: ['pool', 'replica'],
        registers: [this.registry],
        collect() {
          this.reset()
          for (const replica of cluster.status()) this.set({ pool: replica.pool, replica: replica.name }, read(replica))
        },
      })
    }
    gauge('live', 'Requests at the replica now.', ({ live }) => live)
    gauge('pending', 'Cost of those requests, by which replicas are chosen.', ({ pending }) => pending)
    gauge('capacity', 'Most pending cost.', ({ maxPending }) => maxPending)
    gauge('up', '1 when the replica may be chosen.', ({ state }) => (state === 'up' ? 1 : 0))
    gauge('ejected', '1 when it is out by its health.', ({ state }) => (/ejected|trial|suspended/.test(state) ? 1 : 0))
    gauge('draining', '1 when it takes no new requests.', ({ state }) => (state.startsWith('drain') ? 1 : 0))
    gauge('ejections', 'How often it was ejected.', ({ counts }) => counts.ejections)
    gauge('retries', 'Requests that moved on from it.', ({ counts }) => counts.retries)
  }

  /** Observes a replica's result for a request. */
  replica(event: Extract<ClusterEvent, { type: 'request' }>): void {
    const { pool, replica, outcome, code, firstToken, firstAudio } = event
    this.#replicaRequests.inc({ pool, replica, outcome: code ?? outcome })
    if (firstToken !== undefined) this.#replicaFirstToken.observe({ pool, replica }, firstToken)
    if (firstAudio !== undefined) this.#replicaFirstAudio.observe({ pool, replica }, firstAudio)
  }

  /** Counts a pool's cost for a reply, by the prices of the configuration. */
  poolCost(replica: string, cost: Cost): void {
    this.#poolCost.inc({ replica, currency: cost.currency }, cost.total)
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

  /** Counts a prompt that an engine has started on. */
  prompt(checkpoint: string, { total, cached = 0 }: PromptUsage): void {
    this.#prompts.inc({ checkpoint, cache: 'hit' }, cached)
    this.#prompts.inc({ checkpoint, cache: 'miss' }, total - cached)
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
