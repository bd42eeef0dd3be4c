/**
 * A transformer layer that norms what goes into its two halves: x + attention(norm(x)), then y + mlp(norm(y)).
 *
 * x: [hidden, tokens]. The parts are passed in: the norm, the feed-forward, whether what is added is scaled. How
 * attention reaches other tokens (caches, blocks, a stream's history) is the caller's choice.
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'

/** [hidden, tokens] to [hidden, tokens]. */
interface Part {
  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'>
}

export interface PreNormParts<Attention> {
  readonly attention: Attention
  readonly mlp: Part
  readonly attentionNorm: Part
  readonly mlpNorm: Part
  /** Learned scales of what each half adds. */
  readonly attentionScale?: Part
  readonly mlpScale?: Part
}

export class PreNormLayer<Attention> {
  readonly parts: PreNormParts<Attention>

  constructor(parts: PreNormParts<Attention>) {
    this.parts = parts
  }

  /**
   * `attend` gets the attention and the normed x. `rows`: tokens needed of the result, i32 [count]; the feed-forward
   * computes no others. Default: all.
   */
  forward(
    g: GraphBuilder,
    x: Tensor<'f32'>,
    attend: (attention: Attention, normed: Tensor<'f32'>) => Tensor<'f32'>,
    rows?: Tensor<'i32'>,
  ): Tensor<'f32'> {
    const { attention, mlp, attentionNorm, mlpNorm, attentionScale, mlpScale } = this.parts
    const attended = attend(attention, attentionNorm.forward(g, x))
    const all = g.add(x, attentionScale ? attentionScale.forward(g, attended) : attended)
    const y = rows ? g.getRows(all, rows) : all
    const fed = mlp.forward(g, mlpNorm.forward(g, y))
    return g.add(y, mlpScale ? mlpScale.forward(g, fed) : fed)
  }
}
