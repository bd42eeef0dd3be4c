/**
 * Normalisation along the first dimension. Reference: torch.nn.LayerNorm; transformers' Qwen RMSNorm.
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'
import type { Parameters } from './parameters.ts'

/** x / sqrt(mean(x^2) + epsilon) * weight. */
export class RmsNorm {
  readonly weight: Tensor<'f32'>
  readonly epsilon: number

  constructor(parameters: Parameters, size: number, epsilon: number) {
    this.weight = parameters.vector('weight', [size])
    this.epsilon = epsilon
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    return g.mul(g.rmsNorm(x, this.epsilon), this.weight)
  }
}

/** (x - mean) / sqrt(variance + epsilon) * weight + bias. */
export class LayerNorm {
  readonly weight: Tensor<'f32'>
  readonly bias: Tensor<'f32'>
  readonly epsilon: number

  constructor(parameters: Parameters, size: number, epsilon = 1e-5) {
    this.weight = parameters.vector('weight', [size])
    this.bias = parameters.vector('bias', [size])
    this.epsilon = epsilon
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    return g.add(g.mul(g.layerNorm(x, this.epsilon), this.weight), this.bias)
  }
}

/**
 * Learned scale per channel: x [channels, ...] * scale. The parameter's name differs by model (`gamma`, `scale`).
 */
export class LayerScale {
  readonly scale: Tensor<'f32'>

  constructor(parameters: Parameters, name: string, channels: number) {
    this.scale = parameters.vector(name, [channels])
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    return g.mul(x, this.scale)
  }
}
