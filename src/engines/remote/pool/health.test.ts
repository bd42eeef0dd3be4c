import { describe, expect, it } from 'vitest'
import {
  afterBadProbe,
  afterFailure,
  afterGoodProbe,
  afterSuccess,
  beginTrial,
  type Health,
  newHealth,
  trialDue,
} from './health.ts'

const rules = { strikes: 2, goodProbes: 2, out: [30_000, 300_000] } as const
const up: Health = { state: 'up', strikes: 0, badProbes: 0, times: 0, since: 0 }

describe('health', () => {
  it('is up after the first good check, and from the start where nothing can be checked', () => {
    expect(newHealth(false, 0, rules).state).toBe('up')
    const fresh = newHealth(true, 0, rules)
    expect(fresh.state).toBe('ejected')
    expect(afterGoodProbe(fresh, 1, rules).state).toBe('up')
  })

  it('is out after two strikes in a row, not after two with a success between', () => {
    const one = afterFailure(up, 'strike', 'x', 0, rules)
    expect(one.state).toBe('up')
    expect(afterFailure(one, 'strike', 'x', 0, rules).state).toBe('ejected')
    expect(afterFailure(afterSuccess(one, 0), 'strike', 'x', 0, rules).state).toBe('up')
  })

  it('is out when every request fails though health checks answer', () => {
    const one = afterGoodProbe(afterFailure(up, 'strike', 'x', 0, rules), 1, rules)
    expect(afterFailure(one, 'strike', 'x', 2, rules).state).toBe('ejected')
  })

  it('is out after two bad checks in a row, or one that is refused', () => {
    const one = afterBadProbe(up, 'strike', 'x', 0, rules)
    expect(one.state).toBe('up')
    expect(afterBadProbe(one, 'strike', 'x', 1, rules).state).toBe('ejected')
    expect(afterBadProbe(afterGoodProbe(one, 1, rules), 'strike', 'x', 2, rules).state).toBe('up')
    expect(afterBadProbe(up, 'eject', 'refused', 0, rules).state).toBe('ejected')
    const unchecked = newHealth(true, 0, rules)
    expect(afterBadProbe(unchecked, 'strike', 'answers 404', 0, rules)).toEqual({
      ...unchecked,
      good: 0,
      reason: 'answers 404',
    })
  })

  it('is not touched by what the caller did wrong', () => {
    expect(afterFailure(up, 'none', 'bad request', 0, rules)).toBe(up)
  })

  it('comes back by two good checks after its time and one good request', () => {
    let health = afterFailure(up, 'eject', 'refused', 1000, rules)
    health = afterGoodProbe(afterGoodProbe(health, 2000, rules), 3000, rules)
    expect(trialDue(health, true, 30_999, rules)).toBe(false)
    expect(trialDue(health, true, 31_000, rules)).toBe(true)
    expect(afterSuccess(beginTrial(health), 31_001).state).toBe('up')
  })

  it('starts counting good checks anew after a bad one', () => {
    const ejected = afterFailure(up, 'eject', 'x', 0, rules)
    const again = afterGoodProbe(afterFailure(afterGoodProbe(ejected, 1, rules), 'strike', 'x', 2, rules), 3, rules)
    expect(trialDue(again, true, 60_000, rules)).toBe(false)
  })

  it('is out twice as long each time, up to a limit, and forgets after a long good time', () => {
    let health: Health = up
    let now = 0
    const times: number[] = []
    for (let round = 0; round < 6; round += 1) {
      health = afterFailure(health, 'eject', 'x', now, rules)
      if (health.state !== 'ejected') throw new Error('not ejected')
      times.push((health.until - now) / 1000)
      now = health.until
      health = afterSuccess(beginTrial(health), now)
    }
    expect(times).toEqual([30, 60, 120, 240, 300, 300])
    const later = afterFailure(health, 'eject', 'x', now + 300_000, rules)
    expect(later.state === 'ejected' && later.until - now - 300_000).toBe(30_000)
  })

  it('a failed trial puts it out again, for longer', () => {
    const health = afterFailure(beginTrial(afterFailure(up, 'eject', 'x', 0, rules)), 'strike', 'x', 40_000, rules)
    expect(health).toMatchObject({ state: 'ejected', until: 100_000, times: 2 })
  })

  it('stays out by itself when suspended', () => {
    const suspended = afterFailure(up, 'suspend', 'quota', 0, rules)
    expect(afterGoodProbe(afterFailure(suspended, 'eject', 'x', 1, rules), 2, rules)).toBe(suspended)
    expect(trialDue(suspended, false, 1e9, rules)).toBe(false)
  })
})
