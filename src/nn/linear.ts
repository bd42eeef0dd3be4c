/**
 * Linear layer: y = W x + b. Reference: torch.nn.Linear. x: [in, ...] to [out, ...].
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'
import type { ParameterPrecision, Parameters } from './parameters.ts'

export interface LinearOptions {
  /** Default false. */
  readonly bias?: boolean
  readonly precision?: ParameterPrecision
}

export class Linear {
  readonly weight: Tensor
  readonly bias: Tensor<'f32'> | undefined
  readonly inFeatures: number
  readonly outFeatures: number

  constructor(parameters: Parameters, inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    this.inFeatures = inFeatures
    this.outFeatures = outFeatures
    const { precision } = options
    this.weight = parameters.get('weight', {
      shape: [inFeatures, outFeatures],
      use: 'matmul',
      ...(precision && { precision }),
    })
    this.bias = options.bias ? parameters.vector('bias', [outFeatures]) : undefined
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    const y = g.mulMat(this.weight, x)
    return this.bias ? g.add(y, this.bias) : y
  }
}
