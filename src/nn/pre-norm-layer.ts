/**
 * A pre-norm transformer layer: x + attention(norm(x)), then y + mlp(norm(y)).
 *
 * x: [hidden, tokens]. Attention, feed-forward, norms and scales are passed in. The caller also defines how attention
 * reads other tokens (caches, blocks, a stream's history).
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'

/** [hidden, tokens] to [hidden, tokens]. */
interface Part {
  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'>
}

export interface PreNormParts<Attention, Mlp extends Part> {
  readonly attention: Attention
  readonly mlp: Mlp
  readonly attentionNorm: Part
  readonly mlpNorm: Part
  /** Learned scale of the output of attention. */
  readonly attentionScale?: Part
  /** Learned scale of the output of the feed-forward. */
  readonly mlpScale?: Part
}

export class PreNormLayer<Attention, Mlp extends Part = Part> {
  readonly parts: PreNormParts<Attention, Mlp>

  constructor(parts: PreNormParts<Attention, Mlp>) {
    this.parts = parts
  }

  /**
   * `attend` gets the attention and the normalised x. `rows`: i32 [count], the only tokens that the feed-forward
   * computes and the result contains. Default: all.
   */
  forward(
    g: GraphBuilder,
    x: Tensor<'f32'>,
    attend: (attention: Attention, normed: Tensor<'f32'>) => Tensor<'f32'>,
    rows?: Tensor<'i32'>,
  ): Tensor<'f32'> {
    const all = this.attend(g, x, attend)
    const y = rows ? g.getRows(all, rows) : all
    return this.feed(g, y, (mlp, normed) => mlp.forward(g, normed))
  }

  /** The first half: x + attention(norm(x)). */
  attend(
    g: GraphBuilder,
    x: Tensor<'f32'>,
    attend: (attention: Attention, normed: Tensor<'f32'>) => Tensor<'f32'>,
  ): Tensor<'f32'> {
    const { attention, attentionNorm, attentionScale } = this.parts
    const attended = attend(attention, attentionNorm.forward(g, x))
    return g.add(x, attentionScale ? attentionScale.forward(g, attended) : attended)
  }

  /** The second half: y + mlp(norm(y)). */
  feed(g: GraphBuilder, y: Tensor<'f32'>, apply: (mlp: Mlp, normed: Tensor<'f32'>) => Tensor<'f32'>): Tensor<'f32'> {
    const { mlp, mlpNorm, mlpScale } = this.parts
    const fed = apply(mlp, mlpNorm.forward(g, y))
    return g.add(y, mlpScale ? mlpScale.forward(g, fed) : fed)
  }
}
