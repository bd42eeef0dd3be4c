/**
 * ODE solvers for flow matching: the times of evaluations, and the steps from noise to mel.
 *
 * Arithmetic is rounded to f32 step by step, as the reference's tensors are: times enter the network multiplied by
 * 1000. Reference: transformers `RungeKutta4ODESolver` and `Qwen2_5OmniToken2WavDiTModel.sample`.
 */

/** `euler`: one evaluation a step. `rk4`: the 3/8 rule, four evaluations a step. */
export type SolverName = 'euler' | 'rk4'

/** Derivative of the state at a time; both [values]. */
export type Velocity = (time: number, state: Float32Array) => Promise<Float32Array>

const { fround } = Math
const THIRD = fround(1 / 3)
const TWO_THIRDS = fround(2 / 3)

/** `points` times from 0 to 1, dense at the start: u - (cos(pi u / 2) - 1 + u). So points - 1 steps. */
export function solverTimes(points: number): readonly number[] {
  if (!Number.isInteger(points) || points < 2) throw new RangeError(`a solver needs two times at least, not ${points}`)
  return Array.from({ length: points }, (_, i) => {
    const u = fround(i / (points - 1))
    const swayed = fround(fround(Math.cos(fround(fround(Math.PI / 2) * u))) - 1)
    return fround(u - fround(swayed + u))
  })
}

/** The times at which a solver evaluates the velocity, each once, ascending. */
export function evaluationTimes(solver: SolverName, points: number): readonly number[] {
  const times = solverTimes(points)
  const all = new Set<number>()
  for (const [i, start] of times.slice(0, -1).entries()) {
    const end = times[i + 1] ?? 1
    for (const time of solver === 'euler' ? [start] : stepTimes(start, end)) all.add(time)
  }
  return [...all].toSorted((a, b) => a - b)
}

/** Number of evaluations of a run. */
export function evaluationCount(solver: SolverName, points: number): number {
  return (points - 1) * (solver === 'euler' ? 1 : 4)
}

function stepTimes(start: number, end: number): [number, number, number, number] {
  const step = fround(end - start)
  return [start, fround(start + fround(step * THIRD)), fround(start + fround(step * TWO_THIRDS)), end]
}

/** The state at time 1 that starts as `noise` at time 0. */
export async function integrate(
  solver: SolverName,
  points: number,
  noise: Float32Array,
  velocity: Velocity,
): Promise<Float32Array> {
  const times = solverTimes(points)
  let state = noise
  for (const [i, start] of times.slice(0, -1).entries()) {
    const end = times[i + 1] ?? 1
    state = await (solver === 'euler' ? eulerStep : threeEighthsStep)(start, end, state, velocity)
  }
  return state
}

async function eulerStep(start: number, end: number, state: Float32Array, velocity: Velocity): Promise<Float32Array> {
  const step = fround(end - start)
  const slope = await velocity(start, state)
  return state.map((value, i) => value + step * (slope[i] ?? 0))
}

async function threeEighthsStep(
  start: number,
  end: number,
  state: Float32Array,
  velocity: Velocity,
): Promise<Float32Array> {
  const step = fround(end - start)
  const [first, second, third, last] = stepTimes(start, end)
  const k1 = await velocity(first, state)
  const k2 = await velocity(
    second,
    state.map((value, i) => value + step * (k1[i] ?? 0) * THIRD),
  )
  const k3 = await velocity(
    third,
    state.map((value, i) => value + step * ((k2[i] ?? 0) - (k1[i] ?? 0) * THIRD)),
  )
  const k4 = await velocity(
    last,
    state.map((value, i) => value + step * ((k1[i] ?? 0) - (k2[i] ?? 0) + (k3[i] ?? 0))),
  )
  return state.map(
    (value, i) => value + (((k1[i] ?? 0) + 3 * ((k2[i] ?? 0) + (k3[i] ?? 0)) + (k4[i] ?? 0)) * step) / 8,
  )
}
