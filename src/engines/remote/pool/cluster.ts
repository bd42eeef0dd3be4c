/**
 * Pools of replicas at run time: choice of replicas, health checks, draining, changes of the plan while requests run.
 *
 * In: a {@link ClusterPlan}, and a function that opens a replica's engine. Out: leases of replicas for requests, and
 * their status. Decisions are pure functions (`choose.ts`, `health.ts`, `budgets.ts`); this class owns their state.
 */

import { createHash } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { EngineError, type EngineModel, type GenerationRequest } from '../../../contract/index.ts'
import { effectOf, RemoteError } from '../remote-error.ts'
import { unsupportedReason } from './abilities.ts'
import * as budgets from './budgets.ts'
import { choose } from './choose.ts'
import { afterBadProbe, afterFailure, afterGoodProbe, afterSuccess, beginTrial, newHealth, trialDue } from './health.ts'
import { type Member, type MemberEngine, type ReplicaStatus, statusOf } from './member.ts'
import type { ClusterPlan, PoolPlan, ReplicaPlan } from './plan.ts'

export type ClusterEvent =
  | { readonly type: 'ejected' | 'suspended'; readonly pool: string; readonly replica: string; readonly reason: string }
  | { readonly type: 'returned' | 'drained'; readonly pool: string; readonly replica: string }
  | { readonly type: 'retry'; readonly pool: string; readonly replica: string; readonly reason: string }
  | {
      readonly type: 'request'
      readonly pool: string
      readonly replica: string
      readonly outcome: 'ok' | 'error' | 'cancelled'
      readonly code?: string
      /** Seconds since the lease. */
      readonly firstToken?: number
      readonly firstAudio?: number
    }

export interface ClusterOptions {
  readonly plan: ClusterPlan
  /** Opens a replica's engine. A local checkpoint is loaded; remote engines open at once. */
  readonly open: (pool: PoolPlan, replica: ReplicaPlan) => Promise<MemberEngine>
  readonly onEvent?: (event: ClusterEvent) => void
  /** Milliseconds. Default: the monotonic clock. */
  readonly now?: () => number
  readonly random?: () => number
}

/** A replica's capacity, reserved for a request until it is disposed. */
export interface Lease extends Disposable {
  readonly member: Member
  /** Fires when the replica is ejected or suspended before {@link replyStarted}. */
  readonly ejected: AbortSignal
  /** The reply has output: it stays at the replica. */
  replyStarted(): void
}

export type Pick =
  | { readonly kind: 'leased'; readonly lease: Lease }
  | { readonly kind: 'refused'; readonly error: EngineError }

export class Cluster {
  readonly #options: ClusterOptions
  readonly #members = new Map<string, Member>()
  readonly #buckets = new Map<string, budgets.RateBucket>()
  readonly #closing = new AbortController()
  #plan: ClusterPlan
  #budget = budgets.fullBudget
  #suspects: budgets.Suspects = new Map()
  #turn = 0
  #timer: NodeJS.Timeout | undefined

  private constructor(options: ClusterOptions) {
    this.#options = options
    this.#plan = options.plan
  }

  /**
   * Opens all replicas and checks each once. A replica that is down does not delay the start. Rejects as `open` does.
   */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const cluster = new Cluster(options)
    try {
      await cluster.apply(options.plan)
    } catch (error) {
      await cluster.close()
      throw error
    }
    return cluster
  }

  get plan(): ClusterPlan {
    return this.#plan
  }

  get #now(): number {
    return (this.#options.now ?? performance.now.bind(performance))()
  }

  get #random(): () => number {
    return this.#options.random ?? Math.random
  }

  /**
   * Applies a new plan. Unchanged replicas stay, new ones are opened, and removed ones are closed after their requests.
   * Rejects as `open` does; the previous plan then stays in effect.
   */
  async apply(plan: ClusterPlan): Promise<void> {
    const opened: Member[] = []
    const kept: { member: Member; pool: PoolPlan; replica: ReplicaPlan }[] = []
    try {
      for (const pool of plan.pools) {
        for (const replica of pool.replicas) {
          const member = this.#members.get(replica.name)
          if (member && identity(member.pool, member.plan) === identity(pool, replica))
            kept.push({ member, pool, replica })
          else opened.push(await this.#open(pool, replica, plan))
        }
      }
      // New replicas are checked before they replace others, which serve until then.
      await Promise.all(opened.map((member) => this.#probe(member)))
      if (this.#closing.signal.aborted) throw this.#closing.signal.reason
    } catch (error) {
      await Promise.allSettled(opened.map(({ source }) => source.engine.close()))
      throw error
    }
    for (const { member, pool, replica } of kept) {
      // A drain by command stays in effect until the value in the file changes.
      if (member.plan.draining !== replica.draining) member.draining = replica.draining
      member.pool = pool
      member.plan = replica
    }
    const staying = new Set(kept.map(({ replica }) => replica.name))
    for (const [name, member] of this.#members) if (!staying.has(name)) this.#retire(name, member)
    for (const member of opened) this.#members.set(member.plan.name, member)
    this.#plan = plan
    clearInterval(this.#timer)
    this.#timer = setInterval(() => void this.probeAll(), plan.balancing.probeEvery)
    this.#timer.unref()
  }

  async #open(pool: PoolPlan, plan: ReplicaPlan, { balancing }: ClusterPlan): Promise<Member> {
    const source = await this.#options.open(pool, plan)
    return {
      pool,
      plan,
      source,
      counts: { requests: 0, retries: 0, ejections: 0, errors: 0 },
      health: newHealth(source.probe !== undefined, this.#now, balancing.health),
      draining: plan.draining,
      retired: false,
      pending: 0,
      live: 0,
      backoffUntil: 0,
      backoffs: 0,
      probing: false,
      waiting: new Set(),
      lastOutputAt: Number.NEGATIVE_INFINITY,
    }
  }

  #retire(name: string, member: Member): void {
    this.#members.delete(name)
    member.retired = true
    member.draining = true
    if (member.live === 0) void member.source.engine.close()
  }

  /** Pool names of a route, in order. Undefined when the plan has no such route. */
  route(name: string): readonly string[] | undefined {
    return this.#plan.routes[name]
  }

  /** The models of all replicas of a route. */
  modelsOf(route: string): readonly EngineModel[] {
    return this.#poolsOf(route).flatMap(({ name }) => this.#inPool(name).map((member) => member.source.model()))
  }

  #poolsOf(route: string): readonly PoolPlan[] {
    const names = this.#plan.routes[route] ?? []
    return names.flatMap((name) => this.#plan.pools.find((pool) => pool.name === name) ?? [])
  }

  #inPool(pool: string): Member[] {
    return [...this.#members.values()].filter((member) => member.pool.name === pool)
  }

  /** Whether a replica of the route has a choice of voices. */
  #offersVoiceChoice(route: string): boolean {
    return this.modelsOf(route).some((model) => model.capabilities.voiceChoice)
  }

  /** Whether a replica of the route is available. */
  isReady(route: string): boolean {
    return this.#poolsOf(route).some(({ name }) => this.#inPool(name).some((member) => this.#mayServe(member)))
  }

  live(route: string): number {
    return this.#poolsOf(route).reduce(
      (sum, { name }) => sum + this.#inPool(name).reduce((live, member) => live + member.live, 0),
      0,
    )
  }

  status(): readonly ReplicaStatus[] {
    return [...this.#members.values()].map((member) => statusOf(member, this.#now))
  }

  /** Starts or ends the draining of a replica. The end also lifts a suspension. False: no replica has that name. */
  setDraining(name: string, draining: boolean): boolean {
    const member = this.#members.get(name)
    if (!member) return false
    member.draining = draining
    if (!draining && member.health.state === 'suspended')
      member.health = newHealth(member.source.probe !== undefined, this.#now, this.#plan.balancing.health)
    if (draining && member.live === 0) this.#emit({ type: 'drained', ...nameOf(member) })
    return true
  }

  #mayServe(member: Member): boolean {
    const { health, source } = member
    if (member.draining || member.backoffUntil > this.#now || !source.engine.status().ready) return false
    if (health.state === 'up') return true
    // Peers with health checks get a separate trial request.
    return source.probe === undefined && trialDue(health, false, this.#now, this.#plan.balancing.health)
  }

  /** Leases a replica for a request, from the first pool of the route that supports it and has capacity. */
  pick(route: string, request: GenerationRequest, excluded: ReadonlySet<string>): Pick {
    const pools = this.#poolsOf(route)
    if (pools.length === 0)
      return refused(new EngineError('unknown_model', `No pool serves ${route}.`, { param: 'model' }))
    if (
      this.#suspects.size > 0 &&
      budgets.isRefused(this.#suspects, digestOf(request), this.#now, budgets.DEFAULT_SUSPECTS)
    ) {
      const message = 'This request ended two replicas; it is not tried again for a minute.'
      return refused(new EngineError('engine_crashed', message, { retryable: false }))
    }
    const voiceChoice = this.#offersVoiceChoice(route)
    let unable: EngineError | undefined
    let wait: number | undefined
    for (const pool of pools) {
      const members = this.#inPool(pool.name).filter((member) => !excluded.has(member.plan.name))
      const able = members.filter((member) => {
        const reason = unsupportedReason(member.source.model(), request, voiceChoice)
        if (reason) unable ??= reason
        return reason === undefined
      })
      const found = this.#pickIn(pool, able, request)
      if (typeof found === 'object') return { kind: 'leased', lease: found }
      if (found > 0) wait = Math.min(wait ?? found, found)
      else if (able.length > 0) wait ??= 0
    }
    if (wait !== undefined && wait > 0)
      return refused(
        new EngineError('rate_limited', 'All replicas have reached their limit of requests.', { retryAfterMs: wait }),
      )
    if (wait === undefined && unable) return refused(unable)
    return refused(
      new EngineError('upstream_failed', 'No replica is healthy.', { retryAfterMs: this.#plan.balancing.probeEvery }),
    )
  }

  /**
   * As `pick`, for a request that has to move: waits while a replica may return in time. Rejects with the signal's
   * reason.
   */
  async pickLater(
    route: string,
    request: GenerationRequest,
    excluded: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<Pick> {
    const end = performance.now() + this.#plan.balancing.moveWithin
    for (;;) {
      const picked = this.pick(route, request, excluded)
      const left = end - performance.now()
      if (picked.kind === 'leased' || !picked.error.retryable || left <= 0) return picked
      if (!this.#mayReturn(route, request, excluded, left)) return picked
      await setTimeout(PICK_INTERVAL_MS, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
  }

  /**
   * Whether a replica that supports the request, but is busy or ejected, may be available within `within` milliseconds.
   */
  #mayReturn(route: string, request: GenerationRequest, excluded: ReadonlySet<string>, within: number): boolean {
    if (this.#closing.signal.aborted) return false
    const voiceChoice = this.#offersVoiceChoice(route)
    return this.#poolsOf(route).some(({ name }) =>
      this.#inPool(name).some(({ draining, plan, health, source }) => {
        if (draining || excluded.has(plan.name) || unsupportedReason(source.model(), request, voiceChoice)) return false
        if (health.state === 'ejected') return health.times > 0 && health.until < this.#now + within
        return health.state === 'up' || health.state === 'trial'
      }),
    )
  }

  /** A lease, or the milliseconds until there may be capacity. 0: no replica is healthy. */
  #pickIn(pool: PoolPlan, able: readonly Member[], request: GenerationRequest): Lease | number {
    const healthy = able.filter((member) => this.#mayServe(member))
    if (healthy.length === 0) {
      const resting = able.filter(
        (member) => !member.draining && member.health.state === 'up' && member.backoffUntil > this.#now,
      )
      return resting.length === 0 ? 0 : Math.min(...resting.map((member) => member.backoffUntil - this.#now))
    }
    const { strategy, affinity, speechCost } = this.#plan.balancing
    const cost = request.speech ? speechCost : 1
    const key = affinity === 'none' ? undefined : affinityKey(request, affinity)
    const chosen = choose(
      healthy.map((member) => ({ ...member.plan, pending: member.pending })),
      { strategy, cost, random: this.#random, turn: this.#turn, ...(key !== undefined && { affinity: key }) },
    )
    // All replicas are full: replies typically end within seconds.
    if (!chosen) return 2000
    const limited = this.#takeRate(pool)
    if (limited > 0) return limited
    this.#turn += 1
    return this.#lease(this.#members.get(chosen.name)!, cost)
  }

  /** Takes a token of the pool's rate limit. Returns the milliseconds to wait if there is none, or 0. */
  #takeRate({ name, requestsPerMinute }: PoolPlan): number {
    if (requestsPerMinute === undefined) return 0
    const before = this.#buckets.get(name) ?? budgets.newBucket(requestsPerMinute, this.#now)
    const bucket = budgets.refill(before, requestsPerMinute, this.#now)
    const wait = budgets.waitFor(bucket, requestsPerMinute)
    this.#buckets.set(name, wait > 0 ? bucket : { ...bucket, tokens: bucket.tokens - 1 })
    return wait
  }

  #lease(member: Member, cost: number): Lease {
    this.#budget = budgets.afterRequest(this.#budget)
    member.pending += cost
    member.live += 1
    member.counts.requests += 1
    member.health = beginTrial(member.health)
    const ejected = new AbortController()
    member.waiting.add(ejected)
    let released = false
    return {
      member,
      ejected: ejected.signal,
      replyStarted: () => void member.waiting.delete(ejected),
      [Symbol.dispose]: () => {
        if (released) return
        released = true
        member.waiting.delete(ejected)
        member.pending -= cost
        member.live -= 1
        // An aborted trial has no result, so it may be repeated at once.
        if (member.health.state === 'trial' && member.source.probe === undefined)
          member.health = {
            state: 'ejected',
            until: this.#now,
            times: member.health.times,
            good: 0,
            reason: member.health.reason,
          }
        if (member.live > 0 || !member.draining) return
        if (member.retired) void member.source.engine.close()
        this.#emit({ type: 'drained', ...nameOf(member) })
      },
    }
  }

  /** A reply of the replica has started. */
  recordSuccess(member: Member): void {
    this.#setHealth(member, afterSuccess(member.health, this.#now))
    member.backoffs = 0
  }

  /** An event of a reply has arrived from the replica. */
  recordOutput(member: Member): void {
    member.lastOutputAt = this.#now
  }

  /** A reply to the request is complete. */
  recordReply(request: GenerationRequest): void {
    if (this.#suspects.size > 0) this.#suspects = budgets.afterReply(this.#suspects, digestOf(request))
  }

  /** A request failed at the replica. Updates its health. */
  recordFailure(member: Member, request: GenerationRequest | undefined, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    member.counts.errors += 1
    if (error instanceof EngineError && (error.code === 'rate_limited' || error.code === 'overloaded')) {
      const backOff = 1000 * 2 ** Math.min(member.backoffs, 4) * (0.75 + this.#random() / 2)
      member.backoffUntil = this.#now + Math.max(backOff, error.retryAfterMs ?? 0)
      member.backoffs += 1
    }
    if (request && error instanceof EngineError && error.code === 'engine_crashed')
      this.#suspects = budgets.afterCrash(
        this.#suspects,
        digestOf(request),
        member.plan.name,
        this.#now,
        budgets.DEFAULT_SUSPECTS,
      )
    const effect = effectOf(error)
    this.#setHealth(member, afterFailure(member.health, effect, reason, this.#now, this.#plan.balancing.health), reason)
    // A lost connection may be the first sign of an outage, so the replica is checked at once.
    if (effect === 'strike') void this.#probe(member)
  }

  #setHealth(member: Member, next: Member['health'], reason = ''): void {
    const before = member.health
    member.health = next
    if (before.state === next.state) {
      // Logs each new reason of a replica that has never been up: its state does not change.
      if (before.state === 'ejected' && next.state === 'ejected' && next.times === 0 && before.reason !== next.reason)
        this.#emit({ type: 'ejected', ...nameOf(member), reason: next.reason })
      return
    }
    if (next.state === 'ejected' || next.state === 'suspended') moveWaitingRequests(member, reason)
    if (next.state === 'ejected') {
      member.counts.ejections += 1
      this.#emit({ type: 'ejected', ...nameOf(member), reason })
    } else if (next.state === 'suspended') this.#emit({ type: 'suspended', ...nameOf(member), reason })
    else if (next.state === 'up') this.#emit({ type: 'returned', ...nameOf(member) })
  }

  /**
   * Counts a retry. Returns whether the retry budget allows it.
   * @param moved whether the request only waited at a replica that was ejected. No work is repeated, so the budget is
   * not charged.
   */
  takeRetry(member: Member, reason: string, moved: boolean): boolean {
    const left = moved ? this.#budget : budgets.takeRetry(this.#budget)
    if (!left) return false
    this.#budget = left
    member.counts.retries += 1
    this.#emit({ type: 'retry', ...nameOf(member), reason })
    return true
  }

  observe(event: Extract<ClusterEvent, { type: 'request' }>): void {
    this.#emit(event)
  }

  #emit(event: ClusterEvent): void {
    this.#options.onEvent?.(event)
  }

  /** Checks every replica that has a health check. Those due for a trial get a request of one token. */
  async probeAll(): Promise<void> {
    await Promise.all([...this.#members.values()].map((member) => this.#probe(member)))
  }

  async #probe(member: Member): Promise<void> {
    const { source } = member
    if (!source.probe || member.probing || member.health.state === 'suspended' || member.health.state === 'trial')
      return
    member.probing = true
    const { signal } = this.#closing
    const rules = this.#plan.balancing.health
    const begun = this.#now
    try {
      await source.probe(signal)
      const fresh = member.health.state === 'ejected' && member.health.times === 0
      const returning = trialDue(
        { ...member.health, ...afterGoodProbe(member.health, this.#now, rules) } as Member['health'],
        true,
        this.#now,
        rules,
      )
      if (fresh || returning) await source.discover?.(signal)
      this.#setHealth(member, afterGoodProbe(member.health, this.#now, rules))
      if (!trialDue(member.health, true, this.#now, rules)) return
      member.health = beginTrial(member.health)
      await tryOnce(source, signal)
      this.recordSuccess(member)
    } catch (error) {
      if (signal.aborted) return
      // A peer that is busy with replies may be slow to answer a health check.
      const late = error instanceof EngineError && error.code === 'timeout'
      if (late && member.health.state === 'up' && member.lastOutputAt >= begun) return
      // An error of `discover` counts as a failed check, so the peer returns once it serves the right model.
      const reason = error instanceof Error ? error.message : String(error)
      this.#setHealth(member, afterBadProbe(member.health, effectOf(error), reason, this.#now, rules), reason)
    } finally {
      member.probing = false
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#closing.abort(new EngineError('engine_closed', 'The cluster was closed.'))
    const members = [...this.#members.values()]
    await Promise.all(members.map((member) => member.source.engine.close()))
  }
}

const TRIAL_TIMEOUT_MS = 30_000
/** Interval between attempts to find a replica for a request that has to move, milliseconds. */
const PICK_INTERVAL_MS = 100

/** Sends a trial request of one token. Rejects as the engine does. */
async function tryOnce({ engine, model }: MemberEngine, signal: AbortSignal): Promise<void> {
  const request: GenerationRequest = {
    id: `trial-${performance.now()}`,
    model: model().id,
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }],
    sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed: 1 },
    maxTokens: 1,
    stop: [],
  }
  for await (const event of engine.generate(request, AbortSignal.any([signal, AbortSignal.timeout(TRIAL_TIMEOUT_MS)])))
    if (event.type !== 'start') return
}

/** Aborts requests without output, so that they move: a server that is stopping may never answer them. */
function moveWaitingRequests(member: Member, reason: string): void {
  const message = `The replica was ejected before it started its reply: ${reason}`
  for (const waiting of member.waiting) waiting.abort(new RemoteError('upstream_failed', message, 'none'))
  member.waiting.clear()
}

function refused(error: EngineError): Pick {
  return { kind: 'refused', error }
}

function nameOf({ pool, plan }: Member): { readonly pool: string; readonly replica: string } {
  return { pool: pool.name, replica: plan.name }
}

/** Identifies a replica across plans: all settings that cannot change at run time. */
function identity({ replicas: _r, requestsPerMinute: _m, ...pool }: PoolPlan, plan: ReplicaPlan): string {
  return JSON.stringify([pool, plan.name, plan.url])
}

function affinityKey({ cacheScope, messages }: GenerationRequest, affinity: 'caller' | 'conversation'): string {
  if (affinity === 'caller') return cacheScope ?? ''
  const opening = messages
    .slice(0, 2)
    .map(({ content }) => content.map((part) => (part.type === 'text' ? part.text : part.type)))
  return JSON.stringify([cacheScope, opening])
}

/** A digest of a request's content: texts and media, without the caller. */
function digestOf({ messages, speech, maxTokens }: GenerationRequest): string {
  const digest = createHash('sha256').update(JSON.stringify([speech, maxTokens]))
  for (const { role, content } of messages) {
    digest.update(role)
    for (const part of content) digest.update(part.type === 'text' ? part.text : keyOf(part))
  }
  return digest.digest('hex')
}

function keyOf(part: Exclude<GenerationRequest['messages'][number]['content'][number], { type: 'text' }>): string {
  switch (part.type) {
    case 'image':
      return part.image.contentKey
    case 'audio':
      return part.audio.contentKey
    case 'video':
      return part.video.contentKey
    default:
      return part satisfies never
  }
}
