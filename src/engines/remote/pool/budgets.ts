/**
 * What holds an outage small: a budget of retries, limits of requests per minute, requests that ended replicas. Pure; times in milliseconds.
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

/** Requests whose replica ended while it worked on them, by a digest of what was asked. */
export type Suspects = ReadonlyMap<string, { readonly deaths: number; readonly until: number }>

export interface SuspectRules {
  /** Deaths after which a request is refused. */
  readonly deaths: number
  /** For how long deaths count. */
  readonly remember: number
}

export const DEFAULT_SUSPECTS: SuspectRules = { deaths: 2, remember: 60_000 }

export function afterDeath(suspects: Suspects, digest: string, now: number, rules: SuspectRules): Suspects {
  const kept = new Map([...suspects].filter(([, { until }]) => until > now))
  kept.set(digest, { deaths: (kept.get(digest)?.deaths ?? 0) + 1, until: now + rules.remember })
  return kept
}

export function isRefused(suspects: Suspects, digest: string, now: number, rules: SuspectRules): boolean {
  const found = suspects.get(digest)
  return found !== undefined && found.until > now && found.deaths >= rules.deaths
}
