/**
 * Requests and tokens per minute of each key and model, as the hosted service limits them. Off unless `--rate-limit`.
 * Two buckets that fill evenly; the clock is passed in. Tokens are charged when known, so one reply may exceed the
 * limit.
 */
import { errors, type Region } from '../protocol/index.ts'

export interface RateRule {
  readonly requestsPerMinute: number
  readonly tokensPerMinute: number
}

interface Bucket {
  requests: number
  tokens: number
  at: number
}

/** Whole seconds until the requested number is available. */
function secondsUntil(missing: number, perMinute: number): number {
  return Math.max(1, Math.ceil((missing / perMinute) * 60))
}

/** Above this many callers, the oldest are evicted. */
const MAX_BUCKETS = 10_000

export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>()
  readonly #now: () => number
  readonly #region: Region

  /** `now` in milliseconds. */
  constructor(region: Region, now: () => number) {
    this.#region = region
    this.#now = now
  }

  /** Takes one request. @throws ApiError 429 `limit_requests`, or `insufficient_quota` when tokens are overdrawn. */
  take(caller: string, model: string, rule: RateRule): void {
    const bucket = this.#fill(`${caller} ${model}`, rule)
    if (bucket.tokens <= 0) throw errors.tokenQuotaExceeded(secondsUntil(1 - bucket.tokens, rule.tokensPerMinute))
    if (bucket.requests < 1) {
      throw errors.rateLimited(this.#region, secondsUntil(1 - bucket.requests, rule.requestsPerMinute))
    }
    bucket.requests -= 1
  }

  /** Charges the tokens of a request that has ended. */
  charge(caller: string, model: string, rule: RateRule, tokens: number): void {
    this.#fill(`${caller} ${model}`, rule).tokens -= tokens
  }

  #fill(key: string, rule: RateRule): Bucket {
    const now = this.#now()
    let bucket = this.#buckets.get(key)
    if (bucket === undefined) {
      if (this.#buckets.size >= MAX_BUCKETS) this.#buckets.delete(this.#buckets.keys().next().value ?? '')
      bucket = { requests: rule.requestsPerMinute, tokens: rule.tokensPerMinute, at: now }
      this.#buckets.set(key, bucket)
    }
    const minutes = Math.max(0, now - bucket.at) / 60_000
    bucket.requests = Math.min(rule.requestsPerMinute, bucket.requests + minutes * rule.requestsPerMinute)
    bucket.tokens = Math.min(rule.tokensPerMinute, bucket.tokens + minutes * rule.tokensPerMinute)
    bucket.at = now
    return bucket
  }
}
