/**
 * Limits of an outage's effect: a budget of retries, requests per minute, requests that ended replicas. Pure; times in
 * milliseconds.
 */

/** Retries that may be made: a share of the requests, and some to start with. */
export interface RetryBudget {
  readonly left: number
}

const RETRY_SHARE = 0.1
const MOST_RETRIES = 10

export const fullBudget: RetryBudget = { left: MOST_RETRIES }

export function afterRequest({ left }: RetryBudget): RetryBudget {
  return { left: Math.min(MOST_RETRIES, left + RETRY_SHARE) }
}

/** Undefined: none is left. */
export function takeRetry({ left }: RetryBudget): RetryBudget | undefined {
  return left >= 1 ? { left: left - 1 } : undefined
}

/** A bucket that fills with requests per minute and holds ten seconds' worth. */
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

/** Milliseconds until the bucket, just refilled, has a request; 0 when it has. */
export function waitFor({ tokens }: RateBucket, perMinute: number): number {
  return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) * 60_000) / perMinute)
}

/**
 * Requests whose replica ended while it worked on them, by a digest of the request. Many equal requests that one outage
 * ends count once: what they have in common is the replica.
 */
export type Suspects = ReadonlyMap<string, { readonly replicas: ReadonlySet<string>; readonly until: number }>

export interface SuspectRules {
  /** Replicas that ended, after which a request is refused. */
  readonly deaths: number
  /** How long outages count. */
  readonly remember: number
}

export const DEFAULT_SUSPECTS: SuspectRules = { deaths: 2, remember: 60_000 }

export function afterDeath(
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

/** The same request got a whole reply. */
export function afterReply(suspects: Suspects, digest: string): Suspects {
  if (!suspects.has(digest)) return suspects
  const kept = new Map(suspects)
  kept.delete(digest)
  return kept
}

export function isRefused(suspects: Suspects, digest: string, now: number, rules: SuspectRules): boolean {
  const found = suspects.get(digest)
  return found !== undefined && found.until > now && found.replicas.size >= rules.deaths
}
