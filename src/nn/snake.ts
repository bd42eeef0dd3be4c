/**
 * Snake activation with separate magnitude: x + 1 / (exp(beta) + 1e-9) * sin(x * exp(alpha))^2, per channel.
 *
 * x: [channels, time] to the same. Reference: transformers `Qwen3OmniMoeSnakeBeta`.
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'
import type { Parameters } from './parameters.ts'

export class SnakeBeta {
  readonly alpha: Tensor<'f32'>
  readonly beta: Tensor<'f32'>

  constructor(parameters: Parameters, channels: number) {
    this.alpha = parameters.vector('alpha', [channels])
    this.beta = parameters.vector('beta', [channels])
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    const wave = g.sqr(g.sin(g.mul(x, g.exp(this.alpha))))
    return g.add(x, g.div(wave, g.scale(g.exp(this.beta), 1, 1e-9)))
  }
}
