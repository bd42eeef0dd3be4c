/**
 * SnakeBeta activation: x + sin(x exp(alpha))^2 / (exp(beta) + 1e-9), per channel.
 *
 * ggml's sine is a scalar function and slow. sin(pi y)^2 has period 1 and is even, so y is reduced to r in [-1/2, 1/2],
 * and a polynomial in r^2 computes it with vector instructions, with an error below f32 rounding.
 *
 * x: [channels, time] to the same. Reference: transformers `Qwen3OmniMoeSnakeBeta`.
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'
import type { Parameters } from './parameters.ts'

/** sin(pi r)^2 = u (c0 + c1 u + ... + c5 u^5), u = r^2 up to 1/4: Chebyshev interpolation of sin(pi r)^2 / u. */
const COEFFICIENTS = [
  9.86960431170774, -32.46967117171988, 42.72719633651288, -30.101465841270397, 13.050098920091841, -3.3565926214505453,
] as const

/** 1.5 * 2^23: adding and subtracting it rounds an f32 number below 2^22 to the nearest integer. */
const ROUNDER = 12_582_912

/** Elements of a row; much shorter rows are slow, because each has a fixed cost. */
const ROW = 1024

export class SnakeBeta {
  readonly alpha: Tensor<'f32'>
  readonly beta: Tensor<'f32'>

  constructor(parameters: Parameters, channels: number) {
    this.alpha = parameters.vector('alpha', [channels])
    this.beta = parameters.vector('beta', [channels])
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    const [channels, time] = x.shape
    // A row contains several time steps, so the channels' constants are repeated.
    const steps = largestDivisor(time, Math.max(1, Math.floor(ROW / channels)))
    const rows = g.reshape(g.cont(x), channels * steps, time / steps)
    const constants = (perChannel: Tensor<'f32'>): Tensor<'f32'> =>
      steps === 1 ? perChannel : g.reshape(g.repeat(perChannel, channels, steps), channels * steps)
    const turns = g.mul(rows, constants(g.scale(g.exp(this.alpha), 1 / Math.PI)))
    const fraction = g.sub(turns, g.scale(g.scale(turns, 1, ROUNDER), 1, -ROUNDER))
    const u = g.sqr(fraction)
    const [c0, c1, c2, c3, c4, c5] = COEFFICIENTS
    let sum = g.scale(u, c5, c4)
    for (const coefficient of [c3, c2, c1, c0]) sum = g.scale(g.mul(sum, u), 1, coefficient)
    const periodic = g.div(g.mul(sum, u), constants(g.scale(g.exp(this.beta), 1, 1e-9)))
    return g.reshape(g.add(rows, periodic), channels, time)
  }
}

function largestDivisor(value: number, limit: number): number {
  for (let divisor = Math.min(value, limit); divisor > 1; divisor--) if (value % divisor === 0) return divisor
  return 1
}
