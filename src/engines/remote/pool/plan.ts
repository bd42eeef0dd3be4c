/** A cluster's plan: pools of replicas, and the pools of each API model in order of preference. */

import type { AdapterName, PeerOptions } from '../adapter.ts'
import type { TransportLimits } from '../transport.ts'
import type { HealthRules } from './health.ts'
import type { Strategy } from './choose.ts'

export interface ReplicaPlan {
  /** Unique in the cluster; shown to callers and in metrics. */
  readonly name: string
  /** Absent for a local checkpoint. */
  readonly url?: string
  readonly weight: number
  /** Most cost of running requests. */
  readonly maxPending: number
  readonly draining: boolean
}

export interface PoolPlan {
  readonly name: string
  readonly engine: AdapterName | 'local'
  readonly replicas: readonly ReplicaPlan[]
  /** Settings of remote peers. */
  readonly peer: Omit<PeerOptions, 'voices'>
  readonly limits: Partial<TransportLimits>
  /** Checkpoint of a local pool. */
  readonly checkpoint?: string
  readonly requestsPerMinute?: number
}

export interface Balancing {
  readonly strategy: Strategy
  /** Which requests prefer the same replica: a caller's, a conversation's, or none. */
  readonly affinity: 'none' | 'caller' | 'conversation'
  /** Milliseconds between health checks. */
  readonly probeEvery: number
  readonly health: HealthRules
  /** Cost of a request with speech; one without costs 1. */
  readonly speechCost: number
  /** Most retries at other replicas. */
  readonly retries: number
  /** How long a request that has to move waits for a replica that may return, milliseconds. */
  readonly moveWithin: number
}

export interface ClusterPlan {
  readonly pools: readonly PoolPlan[]
  /** Pool names in order, by API model, `API_MODEL:thinking`, or `*`. */
  readonly routes: Readonly<Record<string, readonly string[]>>
  readonly balancing: Balancing
}
