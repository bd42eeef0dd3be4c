/**
 * The decoder of thinkers and talkers: attention to a cache, then a dense or sparse feed-forward.
 *
 * In: embeddings [hidden, tokens of all sequences]. Out: hidden states after the final norm, and those of one chosen
 * layer. Reference: transformers `Qwen3OmniMoeThinkerTextModel`, `Qwen3OmniMoeTalkerModel`,
 * `Qwen2_5OmniThinkerTextModel`, `Qwen2_5OmniTalkerModel`.
 */

import {
  Attention,
  GatedMlp,
  MixtureOfExperts,
  PreNormLayer,
  RmsNorm,
  Rotary,
  type Parameters,
  type Segment,
} from '../../nn/index.ts'
import type { GraphBuilder, Tensor } from '../../tensor/index.ts'
import type { DecoderConfig } from './config.ts'

type DecoderLayer = PreNormLayer<Attention, GatedMlp | MixtureOfExperts>

function decoderLayer(parameters: Parameters, config: DecoderConfig, layer: number): DecoderLayer {
  const { hidden, epsilon, sparse } = config
  const mlp = parameters.scope('mlp')
  return new PreNormLayer({
    attention: new Attention(parameters.scope('self_attn'), {
      hidden,
      heads: config.heads,
      keyValueHeads: config.keyValueHeads,
      headSize: config.headSize,
      ...(config.queryKeyNorm && { queryKeyNorm: epsilon }),
      bias: config.attentionBias,
      outputBias: config.outputBias,
    }),
    mlp:
      config.sparseLayers[layer] && sparse
        ? new MixtureOfExperts(mlp, {
            hidden,
            intermediate: sparse.width,
            experts: sparse.experts,
            used: sparse.used,
            renormalise: sparse.renormalise,
            ...(sparse.shared !== undefined && { shared: sparse.shared }),
          })
        : new GatedMlp(mlp, hidden, config.feedForward),
    attentionNorm: new RmsNorm(parameters.scope('input_layernorm'), hidden, epsilon),
    mlpNorm: new RmsNorm(parameters.scope('post_attention_layernorm'), hidden, epsilon),
  })
}

export interface DecoderRun {
  readonly segments: readonly Segment[]
  readonly positions: Tensor<'i32'>
  /** Added to the output of layers 0, 1, ...: [hidden, tokens] each. */
  readonly deepstack?: readonly Tensor<'f32'>[]
  /** Layer whose hidden states to return besides the last ones: 0 is the input, k the output of layer k - 1. */
  readonly capture?: number
  /**
   * Tokens whose last hidden states are returned, i32 [count]. Default: all. The last feed-forward computes only these.
   */
  readonly rows?: Tensor<'i32'> | undefined
}

export class Decoder {
  readonly layers: readonly DecoderLayer[]
  readonly norm: RmsNorm
  readonly rotary: Rotary
  readonly config: DecoderConfig

  constructor(parameters: Parameters, config: DecoderConfig) {
    this.config = config
    this.layers = Array.from(
      { length: config.layers },
      (_, layer) => decoderLayer(parameters.scope('layers').scope(layer), config, layer),
    )
    this.norm = new RmsNorm(parameters.scope('norm'), config.hidden, config.epsilon)
    this.rotary = new Rotary(
      config.rotarySections
        ? { kind: 'multimodal', base: config.rotaryBase, sections: config.rotarySections, interleaved: config.rotaryInterleaved }
        : { kind: 'plain', base: config.rotaryBase },
    )
  }

  /** x: [hidden, tokens]. Returns the normed last hidden states of `rows` and the captured ones of all tokens. */
  forward(
    g: GraphBuilder,
    x: Tensor<'f32'>,
    run: DecoderRun,
  ): { hidden: Tensor<'f32'>; captured: Tensor<'f32'> | undefined } {
    const rotation = { rotary: this.rotary, positions: run.positions }
    let captured = run.capture === 0 ? x : undefined
    const capturesLast = run.capture === this.layers.length
    let hidden = x
    for (const [i, layer] of this.layers.entries()) {
      const rows = i === this.layers.length - 1 && !capturesLast ? run.rows : undefined
      hidden = layer.forward(
        g,
        hidden,
        (attention, normed) => attention.forward(g, normed, run.segments, i, rotation),
        rows,
      )
      // transformers records a layer's output before the vision features are added to it.
      if (run.capture === i + 1) captured = hidden
      const extra = run.deepstack?.[i]
      if (extra) hidden = g.add(hidden, rows ? g.getRows(extra, rows) : extra)
    }
    const normed = this.norm.forward(g, hidden)
    if (!capturesLast) return { hidden: normed, captured }
    // As in transformers, the last hidden state is the normalized one.
    return { hidden: run.rows ? g.getRows(normed, run.rows) : normed, captured: normed }
  }
}
