/**
 * One route of a cluster as an engine. A request goes to a replica of the first pool that supports it, and may move to
 * another replica until its first output.
 *
 * In: requests of the engine contract. Out: its events. `start` is delayed until the first token or audio: after that,
 * a reply does not move.
 */

import {
  type Engine,
  EngineError,
  type EngineEvent,
  type EngineModel,
  type EngineStatus,
  type GenerationRequest,
  type PromptUsage,
} from '../../../contract/index.ts'
import { LinkedAbort } from '../linked-abort.ts'
import { combineModels, unsupportedReason } from './abilities.ts'
import type { Cluster, Lease } from './cluster.ts'

export class ClusterEngine implements Engine {
  readonly id: string
  readonly #cluster: Cluster
  readonly #route: string
  #closed = false
  readonly #live = new Set<AbortController>()
  #known: { readonly model: EngineModel; readonly at: number } | undefined

  /** @param id name of the served model */
  constructor(cluster: Cluster, route: string, id: string = route) {
    this.#cluster = cluster
    this.#route = route
    this.id = id
  }

  /** The combined model of the replicas, cached for half a second. */
  get model(): EngineModel {
    const now = performance.now()
    if (this.#known && now - this.#known.at <= 500) return this.#known.model
    const models = this.#cluster.modelsOf(this.#route)
    // Requests may still run after their route is removed from the plan.
    const model = models.length === 0 && this.#known ? this.#known.model : combineModels(this.id, models)
    this.#known = { model, at: now }
    return model
  }

  async models(): Promise<readonly EngineModel[]> {
    return [this.model]
  }

  /** Counts prompt tokens at one replica. */
  async countPrompt(request: GenerationRequest, signal?: AbortSignal): Promise<PromptUsage> {
    signal?.throwIfAborted()
    this.#check(request)
    const picked = this.#cluster.pick(this.#route, request, new Set())
    if (picked.kind === 'refused') throw picked.error
    using lease = picked.lease
    const { engine, model } = lease.member.source
    return await engine.countPrompt({ ...request, model: model().id }, signal)
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<EngineEvent, void, undefined> {
    signal.throwIfAborted()
    this.#check(request)
    using own = new LinkedAbort(signal)
    this.#live.add(own)
    try {
      await using attempt = await this.#start(request, own.signal)
      yield attempt.start
      for (let event: EngineEvent | undefined = attempt.first; event !== undefined; event = await attempt.next())
        yield event
    } finally {
      this.#live.delete(own)
    }
  }

  /** Tries replicas until one starts its reply. */
  async #start(request: GenerationRequest, signal: AbortSignal): Promise<StartedReply> {
    const excluded = new Set<string>()
    let firstError: unknown
    let crashes = 0
    let retries = 0
    for (;;) {
      const picked =
        firstError === undefined
          ? this.#cluster.pick(this.#route, request, excluded)
          : await this.#cluster.pickLater(this.#route, request, excluded, signal)
      // The first replica's error explains more than that no other is available.
      if (picked.kind === 'refused') throw firstError ?? picked.error
      const attempt = new Attempt(this.#cluster, picked.lease, request, signal)
      try {
        return await attempt.start()
      } catch (error) {
        await attempt[Symbol.asyncDispose]()
        signal.throwIfAborted()
        const { member } = picked.lease
        // A replica that was ejected while the request waited may get it again when it returns.
        if (!attempt.moved) excluded.add(member.plan.name)
        if (!mayMove(error)) throw error
        firstError ??= error
        if (!(error instanceof EngineError) || isRefusal(error)) continue
        if (error.code === 'engine_crashed') crashes += 1
        if (!attempt.moved) retries += 1
        const within = crashes <= 1 && retries <= this.#cluster.plan.balancing.retries
        if (!within || !this.#cluster.takeRetry(member, error.message, attempt.moved)) throw error
      }
    }
  }

  status(): EngineStatus {
    const ready = !this.#closed && this.#cluster.isReady(this.#route)
    const reason = this.#closed ? 'closed' : ready ? undefined : 'no replica is healthy'
    return { ready, active: this.#live.size, waiting: 0, ...(reason !== undefined && { reason }) }
  }

  /** Ends the route's requests. The cluster owns the replicas. */
  async close(): Promise<void> {
    this.#closed = true
    const reason = new EngineError('engine_closed', 'The engine was closed.')
    for (const live of this.#live) live.abort(reason)
  }

  #check(request: GenerationRequest): void {
    if (this.#closed) throw new EngineError('engine_closed', 'The engine is closed.')
    if (request.model !== this.id)
      throw new EngineError('unknown_model', `No model '${request.model}' here; this engine serves '${this.id}'.`, {
        param: 'model',
      })
    const models = this.#cluster.modelsOf(this.#route)
    if (models.length === 0) return
    const { contextLength } = this.model
    if (request.maxTokens >= contextLength) {
      throw new EngineError(
        'context_overflow',
        `max_tokens fills the whole context of ${contextLength} tokens; lower it.`,
        {
          param: 'max_tokens',
        },
      )
    }
    const reasons = models.map((model) => unsupportedReason(model, request))
    if (reasons.every((reason) => reason !== undefined)) throw reasons[0]!
  }
}

/** Whether another replica may succeed: not after an error of the request, nor after a timeout. */
function mayMove(error: unknown): boolean {
  if (!(error instanceof EngineError) || error.passedOn) return false
  switch (error.code) {
    case 'engine_crashed':
    case 'engine_closed':
    case 'overloaded':
    case 'rate_limited':
    case 'upstream_failed':
    case 'unsupported':
    case 'context_overflow':
      return true
    case 'unknown_model':
    case 'timeout':
    case 'bad_checkpoint':
    case 'internal':
      return false
    default:
      return error.code satisfies never
  }
}

/** Whether the replica refused the request without any work, so that a retry costs nothing. */
function isRefusal({ code }: EngineError): boolean {
  return code === 'unsupported' || code === 'context_overflow' || code === 'engine_closed'
}

/** A reply with its first output. It stays at its replica. */
interface StartedReply extends AsyncDisposable {
  readonly start: Extract<EngineEvent, { type: 'start' }>
  readonly first: EngineEvent
  /** The next event, or undefined at the end. */
  next(): Promise<EngineEvent | undefined>
}

/** One attempt to serve a request, at one replica. */
class Attempt implements AsyncDisposable {
  readonly #cluster: Cluster
  readonly #lease: Lease
  readonly #request: GenerationRequest
  readonly #signal: AbortSignal
  readonly #since = performance.now()
  readonly #own: LinkedAbort
  #events: AsyncIterator<EngineEvent> | undefined
  #ended = false
  #firstToken: number | undefined
  #firstAudio: number | undefined
  /** Whether the replica was ejected while the request waited there. */
  moved = false

  constructor(cluster: Cluster, lease: Lease, request: GenerationRequest, signal: AbortSignal) {
    this.#cluster = cluster
    this.#lease = lease
    this.#request = request
    this.#signal = signal
    this.#own = new LinkedAbort(signal, lease.ejected)
  }

  /** Waits for `start` and the first event of the reply. */
  async start(): Promise<StartedReply> {
    const { member } = this.#lease
    const { engine, model } = member.source
    const { id, maxOutputTokens } = model()
    // A replica with a smaller limit than its route ends the reply with `length`.
    const maxTokens = Math.min(this.#request.maxTokens, maxOutputTokens)
    const events = engine.generate({ ...this.#request, model: id, maxTokens }, this.#own.signal)
    this.#events = events[Symbol.asyncIterator]()
    const start = await this.next()
    const first = await this.next()
    if (start?.type !== 'start' || first === undefined)
      throw new EngineError('internal', 'the first event of the replica is not a start event')
    this.#lease.replyStarted()
    this.#cluster.recordSuccess(member)
    const { name } = member.plan
    return {
      start: { ...start, servedBy: start.servedBy === undefined ? name : `${name}/${start.servedBy}` },
      first,
      next: () => this.next(),
      [Symbol.asyncDispose]: () => this[Symbol.asyncDispose](),
    }
  }

  async next(): Promise<EngineEvent | undefined> {
    try {
      const { done, value } = await this.#events!.next()
      if (done === true) return undefined
      const event: EngineEvent = value
      this.#cluster.recordOutput(this.#lease.member)
      if (event.type === 'audio-delta') this.#firstAudio ??= this.#seconds()
      else if (event.type === 'end') {
        this.#cluster.recordReply(this.#request)
        this.#report('ok')
      } else if (event.type !== 'start') this.#firstToken ??= this.#seconds()
      return event
    } catch (error) {
      const { ejected } = this.#lease
      if (ejected.aborted && !this.#signal.aborted) {
        this.moved = true
        this.#report('error', 'upstream_failed')
        throw ejected.reason
      }
      if (!this.#signal.aborted) {
        this.#cluster.recordFailure(this.#lease.member, this.#request, error)
        this.#report('error', error instanceof EngineError ? error.code : 'internal')
      }
      throw error
    }
  }

  #seconds(): number {
    return (performance.now() - this.#since) / 1000
  }

  #report(outcome: 'ok' | 'error' | 'cancelled', code?: string): void {
    if (this.#ended) return
    this.#ended = true
    const { pool, plan } = this.#lease.member
    this.#cluster.observe({
      type: 'request',
      pool: pool.name,
      replica: plan.name,
      outcome,
      ...(code !== undefined && { code }),
      ...(this.#firstToken !== undefined && { firstToken: this.#firstToken }),
      ...(this.#firstAudio !== undefined && { firstAudio: this.#firstAudio }),
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#report('cancelled')
    // Ends an unfinished reply by closing its connection.
    await this.#events?.return?.().catch(() => undefined)
    this.#own[Symbol.dispose]()
    this.#lease[Symbol.dispose]()
  }
}
