/**
 * Limits that contain an outage: a retry budget, a rate limit per pool, and refusal of requests that crash replicas.
 * Pure; times in milliseconds.
 */

/** Available retries: a share of the requests, and an initial number. */
export interface RetryBudget {
  readonly left: number
}

const RETRY_SHARE = 0.1
const MOST_RETRIES = 10

export const fullBudget: RetryBudget = { left: MOST_RETRIES }

export function afterRequest({ left }: RetryBudget): RetryBudget {
  return { left: Math.min(MOST_RETRIES, left + RETRY_SHARE) }
}

/** Uses one retry. Undefined when the budget is exhausted. */
export function takeRetry({ left }: RetryBudget): RetryBudget | undefined {
  return left >= 1 ? { left: left - 1 } : undefined
}

/** A token bucket that is refilled at the rate limit. Its capacity is the requests of ten seconds. */
export interface RateBucket {
  readonly tokens: number
  readonly at: number
}

export function newBucket(perMinute: number, now: number): RateBucket {
  return { tokens: capacityOf(perMinute), at: now }
}

function capacityOf(perMinute: number): number {
  return Math.max(1, perMinute / 6)
}

export function refill({ tokens, at }: RateBucket, perMinute: number, now: number): RateBucket {
  return { tokens: Math.min(capacityOf(perMinute), tokens + ((now - at) * perMinute) / 60_000), at: now }
}

/** Milliseconds until a bucket that was just refilled allows a request. 0: it allows one now. */
export function waitFor({ tokens }: RateBucket, perMinute: number): number {
  return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) * 60_000) / perMinute)
}

/**
 * Requests during which replicas crashed, by a digest of the request. Equal requests that fail in one crash count once,
 * because each replica counts once.
 */
export type Suspects = ReadonlyMap<string, { readonly replicas: ReadonlySet<string>; readonly until: number }>

export interface SuspectRules {
  /** Crashed replicas after which a request is refused. */
  readonly crashes: number
  /** How long a crash counts, milliseconds. */
  readonly remember: number
}

export const DEFAULT_SUSPECTS: SuspectRules = { crashes: 2, remember: 60_000 }

export function afterCrash(
  suspects: Suspects,
  digest: string,
  replica: string,
  now: number,
  rules: SuspectRules,
): Suspects {
  const kept = new Map([...suspects].filter(([, { until }]) => until > now))
  const replicas = new Set([...(kept.get(digest)?.replicas ?? []), replica])
  return kept.set(digest, { replicas, until: now + rules.remember })
}

/** Records a complete reply to a request. */
export function afterReply(suspects: Suspects, digest: string): Suspects {
  if (!suspects.has(digest)) return suspects
  const kept = new Map(suspects)
  kept.delete(digest)
  return kept
}

export function isRefused(suspects: Suspects, digest: string, now: number, rules: SuspectRules): boolean {
  const found = suspects.get(digest)
  return found !== undefined && found.until > now && found.replicas.size >= rules.crashes
}
