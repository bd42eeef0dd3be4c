/** One replica at run time: its engine, its state, its counts. */

import type { Engine, EngineModel } from '../../../contract/index.ts'
import type { Health } from './health.ts'
import type { PoolPlan, ReplicaPlan } from './plan.ts'

/** An engine with a replica's checks. */
export interface MemberEngine {
  readonly engine: Engine
  /** As it is known now. */
  readonly model: () => EngineModel
  /** Absent: only requests show its health. */
  readonly probe?: (signal: AbortSignal) => Promise<void>
  readonly learn?: (signal: AbortSignal) => Promise<void>
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
  /** Not in the plan any more; closed once nothing is pending. */
  retired: boolean
  pending: number
  live: number
  /** After a limit was reached: when it may be tried again, and how often that happened in a row. */
  restUntil: number
  rests: number
  probing: boolean
  /** Requests there that have not begun to be answered; an ejection sends them elsewhere. */
  readonly waiting: Set<AbortController>
  /** When something of a reply last came from it. */
  heardAt: number
}

/** For operators. */
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
      : member.restUntil > now
        ? 'a limit of requests'
        : local.ready
          ? undefined
          : local.reason
  const state = member.draining
    ? member.live === 0
      ? 'drained'
      : 'draining'
    : health.state === 'up' && !local.ready
      ? 'ejected'
      : health.state === 'up' && member.restUntil > now
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
