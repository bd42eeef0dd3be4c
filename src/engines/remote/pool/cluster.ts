/**
 * Pools of replicas at run time: who may be chosen, health checks, drains, plan changes while requests run.
 *
 * In: a {@link ClusterPlan} and a way to open a replica's engine. Out: leases of replicas for requests, and the
 * operators' view. Decisions are pure functions (`choose.ts`, `health.ts`, `budgets.ts`); this class keeps their state.
 */

import { createHash } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { EngineError, type EngineModel, type GenerationRequest } from '../../../contract/index.ts'
import { effectOf, RemoteError } from '../remote-error.ts'
import { whyNot } from './abilities.ts'
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
      /** Seconds from the lease. */
      readonly firstToken?: number
      readonly firstAudio?: number
    }

export interface ClusterOptions {
  readonly plan: ClusterPlan
  /** Opens a replica's engine. Engines of peers open at once; a checkpoint of this machine is loaded. */
  readonly open: (pool: PoolPlan, replica: ReplicaPlan) => Promise<MemberEngine>
  readonly onEvent?: (event: ClusterEvent) => void
  /** Milliseconds; default the monotonic clock. */
  readonly now?: () => number
  readonly random?: () => number
}

/** A replica that is counted as working on a request until it is released. */
export interface Lease extends Disposable {
  readonly member: Member
  /** Fires when the replica is taken out before its reply has begun; not afterwards. */
  readonly left: AbortSignal
  /** The reply has begun: it stays at the replica whatever becomes of that. */
  begun(): void
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

  /** Opens all replicas and checks each once; one that is down does not delay the start. @throws what `open` throws */
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
   * Takes a new plan. Replicas that are equal in both stay; others are opened, or closed once their requests have
   * ended. @throws what `open` throws: the plan before then stays, whole.
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
      // Before they take the place of others, which serve until then.
      await Promise.all(opened.map((member) => this.#probe(member)))
      if (this.#closing.signal.aborted) throw this.#closing.signal.reason
    } catch (error) {
      await Promise.allSettled(opened.map(({ source }) => source.engine.close()))
      throw error
    }
    for (const { member, pool, replica } of kept) {
      // A drain by command stays until the file's own value changes.
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
      restUntil: 0,
      rests: 0,
      probing: false,
      waiting: new Set(),
      heardAt: Number.NEGATIVE_INFINITY,
    }
  }

  #retire(name: string, member: Member): void {
    this.#members.delete(name)
    member.retired = true
    member.draining = true
    if (member.live === 0) void member.source.engine.close()
  }

  /** Pool names of a route, in order; undefined where the plan has none for an API model. */
  route(name: string): readonly string[] | undefined {
    return this.#plan.routes[name]
  }

  /** Models of a route's pools, one for each replica. */
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

  /** Whether some replica of a route lets the caller choose a voice. */
  #isChoosy(route: string): boolean {
    return this.modelsOf(route).some((model) => model.capabilities.voiceChoice)
  }

  /** Whether some replica of a route may be chosen now. */
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

  /** Takes a replica out, or back in (which also lifts a suspension). False: there is none of that name. */
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
    if (member.draining || member.restUntil > this.#now || !source.engine.status().ready) return false
    if (health.state === 'up') return true
    // Peers with health checks are tried with a test request.
    return source.probe === undefined && trialDue(health, false, this.#now, this.#plan.balancing.health)
  }

  /** A replica for a request: of the first pool of its route that can serve it and has capacity. */
  pick(route: string, request: GenerationRequest, passed: ReadonlySet<string>): Pick {
    const pools = this.#poolsOf(route)
    if (pools.length === 0)
      return refused(new EngineError('unknown_model', `No pool answers for ${route}.`, { param: 'model' }))
    if (
      this.#suspects.size > 0 &&
      budgets.isRefused(this.#suspects, digestOf(request), this.#now, budgets.DEFAULT_SUSPECTS)
    ) {
      const message = 'This request ended two replicas; it is not tried again for a minute.'
      return refused(new EngineError('engine_crashed', message, { retryable: false }))
    }
    const choosy = this.#isChoosy(route)
    let unable: EngineError | undefined
    let wait: number | undefined
    for (const pool of pools) {
      const members = this.#inPool(pool.name).filter((member) => !passed.has(member.plan.name))
      const able = members.filter((member) => {
        const reason = whyNot(member.source.model(), request, choosy)
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
        new EngineError('rate_limited', 'All replicas have as many requests as they may.', { retryAfterMs: wait }),
      )
    if (wait === undefined && unable) return refused(unable)
    return refused(
      new EngineError('upstream_failed', 'No replica is healthy.', { retryAfterMs: this.#plan.balancing.probeEvery }),
    )
  }

  /**
   * As `pick`, for a request that a replica had accepted already: waits for one as long as some may return in time.
   * @throws the signal's reason
   */
  async pickLater(
    route: string,
    request: GenerationRequest,
    passed: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<Pick> {
    const end = performance.now() + this.#plan.balancing.moveWithin
    for (;;) {
      const picked = this.pick(route, request, passed)
      const left = end - performance.now()
      if (picked.kind === 'leased' || left <= 0 || !this.#mayReturn(route, request, passed, left)) return picked
      await setTimeout(PICK_AGAIN, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
  }

  /** Whether a replica that could serve a request, but is busy or out, may be back within some milliseconds. */
  #mayReturn(route: string, request: GenerationRequest, passed: ReadonlySet<string>, within: number): boolean {
    if (this.#closing.signal.aborted) return false
    const choosy = this.#isChoosy(route)
    return this.#poolsOf(route).some(({ name }) =>
      this.#inPool(name).some(({ draining, plan, health, source }) => {
        if (draining || passed.has(plan.name) || whyNot(source.model(), request, choosy)) return false
        if (health.state === 'ejected') return health.times > 0 && health.until < this.#now + within
        return health.state === 'up' || health.state === 'trial'
      }),
    )
  }

  /** A lease; else milliseconds until there may be capacity, 0 when no replica is healthy. */
  #pickIn(pool: PoolPlan, able: readonly Member[], request: GenerationRequest): Lease | number {
    const healthy = able.filter((member) => this.#mayServe(member))
    if (healthy.length === 0) {
      const resting = able.filter(
        (member) => !member.draining && member.health.state === 'up' && member.restUntil > this.#now,
      )
      return resting.length === 0 ? 0 : Math.min(...resting.map((member) => member.restUntil - this.#now))
    }
    const { strategy, affinity, speechCost } = this.#plan.balancing
    const cost = request.speech ? speechCost : 1
    const key = affinity === 'none' ? undefined : affinityKey(request, affinity)
    const chosen = choose(
      healthy.map((member) => ({ ...member.plan, pending: member.pending })),
      { strategy, cost, random: this.#random, turn: this.#turn, ...(key !== undefined && { affinity: key }) },
    )
    // Full: capacity is free again when a reply ends, in a second or a few.
    if (!chosen) return 2000
    const limited = this.#takeRate(pool)
    if (limited > 0) return limited
    this.#turn += 1
    return this.#lease(this.#members.get(chosen.name)!, cost)
  }

  /** Takes one request of a pool's minute; milliseconds to wait when there is none. */
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
    const left = new AbortController()
    member.waiting.add(left)
    let released = false
    return {
      member,
      left: left.signal,
      begun: () => void member.waiting.delete(left),
      [Symbol.dispose]: () => {
        if (released) return
        released = true
        member.waiting.delete(left)
        member.pending -= cost
        member.live -= 1
        // An aborted trial has no result.
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

  /** A reply of this replica has begun. */
  succeeded(member: Member): void {
    this.#setHealth(member, afterSuccess(member.health, this.#now))
    member.rests = 0
  }

  /** Something of a reply came from this replica. */
  answered(member: Member): void {
    member.heardAt = this.#now
  }

  /** A reply of this replica is whole. */
  ended(request: GenerationRequest): void {
    if (this.#suspects.size > 0) this.#suspects = budgets.afterReply(this.#suspects, digestOf(request))
  }

  /** A request failed there. What that shows of the replica is kept. */
  failed(member: Member, request: GenerationRequest | undefined, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    member.counts.errors += 1
    if (error instanceof EngineError && (error.code === 'rate_limited' || error.code === 'overloaded')) {
      const backOff = 1000 * 2 ** Math.min(member.rests, 4) * (0.75 + this.#random() / 2)
      member.restUntil = this.#now + Math.max(backOff, error.retryAfterMs ?? 0)
      member.rests += 1
    }
    if (request && error instanceof EngineError && error.code === 'engine_crashed')
      this.#suspects = budgets.afterDeath(
        this.#suspects,
        digestOf(request),
        member.plan.name,
        this.#now,
        budgets.DEFAULT_SUSPECTS,
      )
    const effect = effectOf(error)
    this.#setHealth(member, afterFailure(member.health, effect, reason, this.#now, this.#plan.balancing.health), reason)
    // A broken connection may be the first sign of a dead peer; a check decides at once.
    if (effect === 'strike') void this.#probe(member)
  }

  #setHealth(member: Member, next: Member['health'], reason = ''): void {
    const before = member.health
    member.health = next
    if (before.state === next.state) {
      // A replica that was never up is not ejected again, so its log would stay empty.
      if (before.state === 'ejected' && next.state === 'ejected' && next.times === 0 && before.reason !== next.reason)
        this.#emit({ type: 'ejected', ...nameOf(member), reason: next.reason })
      return
    }
    if (next.state === 'ejected' || next.state === 'suspended') leave(member, reason)
    if (next.state === 'ejected') {
      member.counts.ejections += 1
      this.#emit({ type: 'ejected', ...nameOf(member), reason })
    } else if (next.state === 'suspended') this.#emit({ type: 'suspended', ...nameOf(member), reason })
    else if (next.state === 'up') this.#emit({ type: 'returned', ...nameOf(member) })
  }

  /**
   * Whether one more replica may be tried; counts it.
   * @param moved the request only waited at a replica that was taken out: nothing is done twice, so the budget is not
   * charged.
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

  /** Checks every replica that has a check; those due are tried with a request of one token. */
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
      if (fresh || returning) await source.learn?.(signal)
      this.#setHealth(member, afterGoodProbe(member.health, this.#now, rules))
      if (!trialDue(member.health, true, this.#now, rules)) return
      member.health = beginTrial(member.health)
      await tryOnce(source, signal)
      this.succeeded(member)
    } catch (error) {
      if (signal.aborted) return
      // A peer that is busy with replies may be slow to say that it is well.
      const late = error instanceof EngineError && error.code === 'timeout'
      if (late && member.health.state === 'up' && member.heardAt >= begun) return
      // A peer that serves another model comes back by itself once it serves the right one.
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

const TRIAL_LIMIT = 30_000
/** Milliseconds between two attempts to find a replica for a request that has to move. */
const PICK_AGAIN = 100

/** A test request of one token. @throws what the engine throws */
async function tryOnce({ engine, model }: MemberEngine, signal: AbortSignal): Promise<void> {
  const request: GenerationRequest = {
    id: `trial-${performance.now()}`,
    model: model().id,
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }],
    sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed: 1 },
    maxTokens: 1,
    stop: [],
  }
  for await (const event of engine.generate(request, AbortSignal.any([signal, AbortSignal.timeout(TRIAL_LIMIT)])))
    if (event.type !== 'start') return
}

/** Sends what has not begun there elsewhere: a server that is stopping may leave it without an answer for ever. */
function leave(member: Member, reason: string): void {
  const message = `The replica was taken out before it began its reply: ${reason}`
  for (const waiting of member.waiting) waiting.abort(new RemoteError('upstream_failed', message, 'none'))
  member.waiting.clear()
}

function refused(error: EngineError): Pick {
  return { kind: 'refused', error }
}

function nameOf({ pool, plan }: Member): { readonly pool: string; readonly replica: string } {
  return { pool: pool.name, replica: plan.name }
}

/** What decides whether a replica is the same one: everything but what may change at run time. */
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

/** Identifies a request's content: texts and media, not the caller. */
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
