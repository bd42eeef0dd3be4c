/** A cluster's plan: pools of replicas, and which API model goes to which pools in which order. */

import type { AdapterName, PeerOptions } from '../adapter.ts'
import type { TransportLimits } from '../transport.ts'
import type { HealthRules } from './health.ts'
import type { Strategy } from './choose.ts'

export interface ReplicaPlan {
  /** Unique in the cluster; shown to callers and in metrics. */
  readonly name: string
  /** Absent for a checkpoint on this machine. */
  readonly url?: string
  readonly weight: number
  /** Most cost pending at it. */
  readonly maxPending: number
  readonly draining: boolean
}

export interface PoolPlan {
  readonly name: string
  readonly engine: AdapterName | 'local'
  readonly replicas: readonly ReplicaPlan[]
  /** Of a pool of peers. */
  readonly peer: Omit<PeerOptions, 'voices'>
  readonly limits: Partial<TransportLimits>
  /** Of a local pool. */
  readonly checkpoint?: string
  readonly requestsPerMinute?: number
}

export interface Balancing {
  readonly strategy: Strategy
  /** Which requests stay together: a caller's, a conversation's, or none. */
  readonly affinity: 'none' | 'caller' | 'conversation'
  /** Milliseconds between health checks. */
  readonly probeEvery: number
  readonly health: HealthRules
  /** Cost of a request with speech; one without costs 1. */
  readonly speechCost: number
  /** Replicas tried after the first. */
  readonly retries: number
  /** Milliseconds a request that has to move waits for a replica that may return. */
  readonly moveWithin: number
}

export interface ClusterPlan {
  readonly pools: readonly PoolPlan[]
  /** Pool names in order, by API model, `API_MODEL:thinking`, or `*`. */
  readonly routes: Readonly<Record<string, readonly string[]>>
  readonly balancing: Balancing
}
