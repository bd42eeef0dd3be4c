/**
 * A table of vectors, read by row index. ids: i32 [tokens] to [size, tokens]. Reference: torch.nn.Embedding.
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'
import type { ParameterPrecision, Parameters } from './parameters.ts'

export class Embedding {
  readonly weight: Tensor
  /** Number of vectors. */
  readonly count: number
  /** Elements of a vector. */
  readonly size: number

  constructor(parameters: Parameters, count: number, size: number, options: { precision?: ParameterPrecision } = {}) {
    this.count = count
    this.size = size
    this.weight = parameters.get('weight', {
      shape: [size, count],
      use: 'other',
      precision: options.precision ?? 'coarse',
    })
  }

  forward(g: GraphBuilder, ids: Tensor<'i32'>): Tensor<'f32'> {
    return g.getRows(this.weight, ids)
  }

  /** Logits with the same table (tied embeddings): x [size, tokens] to [count, tokens]. */
  project(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    return g.mulMat(this.weight, x)
  }
}
