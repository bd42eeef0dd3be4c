import { describe, expect, it } from 'vitest'

import { ThreadGovernor } from './thread-governor.ts'

/** A machine that gives the process `share` processors. */
function simulate(threads: number) {
  const state = { now: 0, cpu: 0, diskPages: 0 }
  const governor = new ThreadGovernor(
    threads,
    () => state.now,
    () => ({ cpu: state.cpu, diskPages: state.diskPages }),
  )
  const pass = (ms: number, share: number): void => {
    state.now += ms
    state.cpu += ms * share
  }
  return { governor, state, pass }
}

describe('threads', () => {
  it('stay when they get the processor, in long and in short computations', () => {
    const { governor, pass } = simulate(2)
    for (let i = 0; i < 50; i++) {
      expect(governor.begin()).toBe(2)
      pass(i % 2 ? 100 : 3, 1.9)
      expect(governor.shouldRestart()).toBe(false)
      governor.end()
    }
  })

  it('become fewer when others take it, and all again later, at longer and longer intervals', () => {
    const { governor, state, pass } = simulate(2)
    const retries: number[] = []
    for (let i = 0; i < 3000; i++) {
      const threads = governor.begin()
      if (threads === 2) retries.push(state.now)
      pass(10, threads === 2 ? 0.8 : 0.9)
      governor.end()
    }
    // Four short computations fill one window.
    const starts = retries.filter((at, i) => i === 0 || at - (retries[i - 1] ?? 0) > 100)
    const intervals = starts.slice(1).map((at, i) => at - (starts[i] ?? 0))
    expect(intervals[0]).toBeLessThan(700)
    expect(intervals.at(-1)).toBeGreaterThan(3500)
    // Once free, it stays at full speed.
    state.now += 10_000
    for (let i = 0; i < 100; i++) {
      expect(governor.begin()).toBe(2)
      pass(10, 2)
      governor.end()
    }
  })

  it('stop a long computation that crawls', () => {
    const { governor, pass } = simulate(8)
    expect(governor.begin()).toBe(8)
    pass(20, 0.5)
    expect(governor.shouldRestart()).toBe(false)
    pass(200, 2.4)
    expect(governor.shouldRestart()).toBe(true)
    expect(governor.begin()).toBe(2)
    pass(100, 1.9)
    expect(governor.shouldRestart()).toBe(false)
  })

  it('are judged by the remaining ones while some are reserved', () => {
    const { governor, pass } = simulate(4)
    expect(governor.begin(3)).toBe(3)
    pass(500, 2)
    expect(governor.shouldRestart()).toBe(false)
    governor.end()
    expect(governor.begin()).toBe(4)
    pass(100, 3.9)
    governor.end()
    expect(governor.begin(3)).toBe(3)
    pass(100, 1.2)
    // The time with four threads does not count for these three.
    expect(governor.shouldRestart()).toBe(false)
    pass(100, 1.2)
    expect(governor.shouldRestart()).toBe(true)
    expect(governor.begin(3)).toBe(1)
  })

  it('do not change because of the disk', () => {
    const { governor, state, pass } = simulate(2)
    governor.begin()
    pass(500, 0.2)
    state.diskPages = 1000
    expect(governor.shouldRestart()).toBe(false)
    governor.end()
    expect(governor.begin()).toBe(2)
  })
})
