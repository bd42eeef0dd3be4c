/** One replica at run time: its engine, its health, its counters. */

import type { Engine, EngineModel } from '../../../contract/index.ts'
import type { Health } from './health.ts'
import type { PoolPlan, ReplicaPlan } from './plan.ts'

/** An engine with its health check. */
export interface MemberEngine {
  readonly engine: Engine
  /** The model's current description. */
  readonly model: () => EngineModel
  /** Absent: only requests show its health. */
  readonly probe?: (signal: AbortSignal) => Promise<void>
  readonly discover?: (signal: AbortSignal) => Promise<void>
}

export interface MemberCounts {
  requests: number
  retries: number
  ejections: number
  errors: number
}

export interface Member {
  pool: PoolPlan
  plan: ReplicaPlan
  readonly source: MemberEngine
  readonly counts: MemberCounts
  health: Health
  draining: boolean
  /** Removed from the plan. It is closed after its last request. */
  retired: boolean
  pending: number
  live: number
  /** End of the current backoff after a rate limit, and the number of consecutive backoffs. */
  backoffUntil: number
  backoffs: number
  probing: boolean
  /** Requests without output so far. An ejection aborts them, and they move to another replica. */
  readonly waiting: Set<AbortController>
  /** Time of the last event of any of its replies. */
  lastOutputAt: number
}

/** Status of a replica, for operators. */
export interface ReplicaStatus {
  readonly name: string
  readonly pool: string
  readonly engine: string
  readonly url?: string
  readonly state: 'up' | 'ejected' | 'trial' | 'suspended' | 'resting' | 'draining' | 'drained'
  readonly reason?: string
  readonly live: number
  readonly pending: number
  readonly maxPending: number
  readonly weight: number
  readonly counts: Readonly<MemberCounts>
}

export function statusOf(member: Member, now: number): ReplicaStatus {
  const { plan, pool, health } = member
  const local = member.source.engine.status()
  const reason =
    health.state !== 'up'
      ? health.reason
      : member.backoffUntil > now
        ? 'a rate limit'
        : local.ready
          ? undefined
          : local.reason
  const state = member.draining
    ? member.live === 0
      ? 'drained'
      : 'draining'
    : health.state === 'up' && !local.ready
      ? 'ejected'
      : health.state === 'up' && member.backoffUntil > now
        ? 'resting'
        : health.state
  return {
    name: plan.name,
    pool: pool.name,
    engine: pool.engine,
    ...(plan.url !== undefined && { url: plan.url }),
    state,
    ...(reason !== undefined && { reason }),
    live: member.live,
    pending: member.pending,
    maxPending: plan.maxPending,
    weight: plan.weight,
    counts: { ...member.counts },
  }
}
