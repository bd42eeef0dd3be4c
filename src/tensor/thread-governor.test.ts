import { describe, expect, it } from 'vitest'

import { ThreadGovernor } from './thread-governor.ts'

/** A simulated machine: `advance` passes time in which the process gets `cores` cores. */
function simulate(threads: number) {
  const state = { now: 0, cpu: 0, diskPages: 0 }
  const governor = new ThreadGovernor(
    threads,
    () => state.now,
    () => ({ cpu: state.cpu, diskPages: state.diskPages }),
  )
  const advance = (ms: number, cores: number): void => {
    state.now += ms
    state.cpu += ms * cores
  }
  return { governor, state, advance }
}

describe('the thread governor', () => {
  it('keeps all threads when they get CPU time, in long and in short computations', () => {
    const { governor, advance } = simulate(2)
    for (let i = 0; i < 50; i++) {
      expect(governor.begin()).toBe(2)
      advance(i % 2 ? 100 : 3, 1.9)
      expect(governor.shouldRestart()).toBe(false)
      governor.end()
    }
  })

  it('reduces threads when other programs use the cores, and retries all of them at growing intervals', () => {
    const { governor, state, advance } = simulate(2)
    const retries: number[] = []
    for (let i = 0; i < 3000; i++) {
      const threads = governor.begin()
      if (threads === 2) retries.push(state.now)
      advance(10, threads === 2 ? 0.8 : 0.9)
      governor.end()
    }
    // Retries in close succession belong to one measurement.
    const starts = retries.filter((at, i) => i === 0 || at - (retries[i - 1] ?? 0) > 100)
    const intervals = starts.slice(1).map((at, i) => at - (starts[i] ?? 0))
    expect(intervals[0]).toBeLessThan(700)
    expect(intervals.at(-1)).toBeGreaterThan(3500)
    // Once the cores are free, all threads stay in use.
    state.now += 10_000
    for (let i = 0; i < 100; i++) {
      expect(governor.begin()).toBe(2)
      advance(10, 2)
      governor.end()
    }
  })

  it('restarts a long computation whose threads get little CPU time', () => {
    const { governor, advance } = simulate(8)
    expect(governor.begin()).toBe(8)
    advance(20, 0.5)
    expect(governor.shouldRestart()).toBe(false)
    advance(200, 2.4)
    expect(governor.shouldRestart()).toBe(true)
    expect(governor.begin()).toBe(2)
    advance(100, 1.9)
    expect(governor.shouldRestart()).toBe(false)
  })

  it('measures only the remaining threads while some are reserved', () => {
    const { governor, advance } = simulate(4)
    expect(governor.begin(3)).toBe(3)
    advance(500, 2)
    expect(governor.shouldRestart()).toBe(false)
    governor.end()
    expect(governor.begin()).toBe(4)
    advance(100, 3.9)
    governor.end()
    expect(governor.begin(3)).toBe(3)
    advance(100, 1.2)
    // The measurement with four threads does not count for three.
    expect(governor.shouldRestart()).toBe(false)
    advance(100, 1.2)
    expect(governor.shouldRestart()).toBe(true)
    expect(governor.begin(3)).toBe(1)
  })

  it('keeps all threads while the computation waits for the disk', () => {
    const { governor, state, advance } = simulate(2)
    governor.begin()
    advance(500, 0.2)
    state.diskPages = 1000
    expect(governor.shouldRestart()).toBe(false)
    governor.end()
    expect(governor.begin()).toBe(2)
  })
})
