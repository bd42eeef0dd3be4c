/**
 * Health of a replica: ejection and circuit breaking by health checks and by results of requests.
 *
 * In: a state, an event, the time. Out: the next state. Pure; times in milliseconds of any clock.
 */

import type { Effect } from '../remote-error.ts'

export interface HealthRules {
  /** Consecutive failures that eject a replica. */
  readonly strikes: number
  /** Consecutive successful checks before a trial request. */
  readonly goodProbes: number
  /** First and longest duration of an ejection. It doubles each time. */
  readonly out: readonly [first: number, longest: number]
}

export const DEFAULT_HEALTH: HealthRules = { strikes: 2, goodProbes: 2, out: [30_000, 300_000] }

export type Health =
  /** Consecutive failures of requests (`strikes`) and of checks (`badProbes`), which a peer may fail independently. */
  | {
      readonly state: 'up'
      readonly strikes: number
      readonly badProbes: number
      readonly times: number
      readonly since: number
    }
  /** `times`: number of recent ejections. `good`: consecutive successful checks. */
  | {
      readonly state: 'ejected'
      readonly until: number
      readonly times: number
      readonly good: number
      readonly reason: string
    }
  /** A trial request is running. */
  | { readonly state: 'trial'; readonly times: number; readonly reason: string }
  /** Out of service until an operator acts. */
  | { readonly state: 'suspended'; readonly reason: string }

/** The state of a new replica. Without health checks, it is assumed to be up. */
export function newHealth(probes: boolean, now: number, rules: HealthRules): Health {
  return probes
    ? { state: 'ejected', until: now, times: 0, good: rules.goodProbes - 1, reason: 'not checked yet' }
    : { state: 'up', strikes: 0, badProbes: 0, times: 0, since: now }
}

/** A request was answered. After a trial, the replica is up again. */
export function afterSuccess(health: Health, now: number): Health {
  switch (health.state) {
    case 'up':
      return health.strikes === 0 ? health : { ...health, strikes: 0 }
    case 'trial':
      return { state: 'up', strikes: 0, badProbes: 0, times: health.times, since: now }
    case 'ejected':
    case 'suspended':
      // A request that started earlier does not show the current state.
      return health
    default:
      return health satisfies never
  }
}

/** A request failed. */
export function afterFailure(health: Health, effect: Effect, reason: string, now: number, rules: HealthRules): Health {
  switch (effect) {
    case 'none':
      return health.state === 'trial'
        ? { state: 'up', strikes: 0, badProbes: 0, times: health.times, since: now }
        : health
    case 'suspend':
      return { state: 'suspended', reason }
    case 'eject':
      return eject(health, reason, now, rules)
    case 'strike':
      if (health.state !== 'up') return eject(health, reason, now, rules)
      if (health.strikes + 1 >= rules.strikes) return eject(health, reason, now, rules)
      return { ...health, strikes: health.strikes + 1 }
    default:
      return effect satisfies never
  }
}

function eject(health: Health, reason: string, now: number, rules: HealthRules): Health {
  const [first, longest] = rules.out
  switch (health.state) {
    case 'suspended':
      return health
    case 'ejected':
      return { ...health, good: 0 }
    case 'up': {
      // A replica that was up for the longest ejection time has no recent ejections.
      const times = now - health.since >= longest ? 0 : health.times
      return { state: 'ejected', until: now + timeOut(times, first, longest), times: times + 1, good: 0, reason }
    }
    case 'trial':
      return {
        state: 'ejected',
        until: now + timeOut(health.times, first, longest),
        times: health.times + 1,
        good: 0,
        reason,
      }
    default:
      return health satisfies never
  }
}

function timeOut(times: number, first: number, longest: number): number {
  return Math.min(longest, first * 2 ** times)
}

/** A health check failed, or could not be sent. */
export function afterBadProbe(health: Health, effect: Effect, reason: string, now: number, rules: HealthRules): Health {
  if (health.state === 'up' && effect !== 'eject' && health.badProbes + 1 < rules.strikes)
    return { ...health, badProbes: health.badProbes + 1 }
  // Operators see the latest reason, not the first one.
  if (health.state === 'ejected') return { ...health, good: 0, reason }
  return eject(health, reason, now, rules)
}

/** A health check succeeded. */
export function afterGoodProbe(health: Health, now: number, rules: HealthRules): Health {
  switch (health.state) {
    case 'up':
      return health.badProbes === 0 ? health : { ...health, badProbes: 0 }
    case 'ejected':
      // A replica without ejections needs no trial.
      if (health.times === 0) return { state: 'up', strikes: 0, badProbes: 0, times: 0, since: now }
      return { ...health, good: Math.min(rules.goodProbes, health.good + 1) }
    case 'trial':
    case 'suspended':
      return health
    default:
      return health satisfies never
  }
}

/** Whether a trial request may be sent now. */
export function trialDue(health: Health, probes: boolean, now: number, rules: HealthRules): boolean {
  if (health.state !== 'ejected' || health.times === 0 || now < health.until) return false
  return !probes || health.good >= rules.goodProbes
}

export function beginTrial(health: Health): Health {
  return health.state === 'ejected' ? { state: 'trial', times: health.times, reason: health.reason } : health
}
