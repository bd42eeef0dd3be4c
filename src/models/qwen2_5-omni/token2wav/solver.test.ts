import { describe, expect, it } from 'vitest'

import { givenNoise, normalNoise } from './noise.ts'
import { evaluationCount, evaluationTimes, integrate, solverTimes, type SolverName } from './solver.ts'

describe('solver', () => {
  it('uses the times of the reference', () => {
    const expected = [0, 0.015192, 0.060307, 0.133975, 0.233956, 0.357212, 0.5, 0.65798, 0.826352, 1]
    for (const [i, time] of solverTimes(10).entries()) expect(time).toBeCloseTo(expected[i] ?? 0, 6)
    expect(() => solverTimes(1)).toThrow(RangeError)
  })

  it('reports the number of evaluations and their distinct times', () => {
    expect(evaluationCount('euler', 10)).toBe(9)
    expect(evaluationCount('rk4', 10)).toBe(36)
    expect(evaluationTimes('euler', 10)).toHaveLength(9)
    // The end of a step is the start of the next.
    expect(evaluationTimes('rk4', 10)).toHaveLength(28)
  })

  it('evaluates only at the reported times', async () => {
    for (const solver of ['euler', 'rk4'] satisfies SolverName[]) {
      const asked = new Set<number>()
      await integrate(solver, 7, new Float32Array(1), (time, state) => {
        asked.add(time)
        return Promise.resolve(state)
      })
      expect([...asked].toSorted((a, b) => a - b)).toEqual(evaluationTimes(solver, 7))
    }
  })

  it.each([
    ['euler', 17, 0.12],
    ['rk4', 17, 2e-5],
  ] as const)('%s follows an equation whose answer is known', async (solver, points, limit) => {
    // y' = y cos t: y(1) = y(0) exp(sin 1).
    const [end = 0] = await integrate(solver, points, Float32Array.of(1), (time, state) =>
      Promise.resolve(state.map((value) => value * Math.cos(time))),
    )
    expect(Math.abs(end - Math.exp(Math.sin(1)))).toBeLessThan(limit)
  })
})

describe('noise', () => {
  const random = (): (() => number) => {
    let state = 1
    return () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state / 2 ** 32
    }
  }

  it('is normal', () => {
    const values = normalNoise(random(), 80)(0, 1000)
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
    const within = values.filter((value) => Math.abs(value) < 1).length / values.length
    expect(Math.abs(mean)).toBeLessThan(0.02)
    expect(variance).toBeCloseTo(1, 1)
    expect(within).toBeCloseTo(0.6827, 2)
  })

  it('is the same for a frame in any range', () => {
    const whole = normalNoise(random(), 7)(0, 600)
    const pieces = normalNoise(random(), 7)
    pieces(0, 3)
    expect(pieces(500, 100)).toEqual(whole.slice(3500))
    expect(pieces(1, 400)).toEqual(whole.slice(7, 2807))
  })

  it('from an array is refused beyond its end', () => {
    expect(() => givenNoise(new Float32Array(20), 4)(3, 3)).toThrow(/noise of 5 frames is given, frame 6 is needed/)
  })
})
