/**
 * Sparse mixture of experts: each token is processed by its top-k experts, and their results are weighted by the
 * router.
 *
 * x: [hidden, tokens] to [hidden, tokens]. Reference: transformers `Qwen3OmniMoeThinkerTextSparseMoeBlock` (no shared
 * expert) and `Qwen3OmniMoeTalkerTextSparseMoeBlock` (shared expert behind a sigmoid gate).
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'
import { Linear } from './linear.ts'
import { GatedMlp } from './mlp.ts'
import type { Parameters } from './parameters.ts'
import { declareSorted, type SortedTokens } from './sorted-experts.ts'

export interface MixtureOptions {
  readonly hidden: number
  /** Width of one expert. */
  readonly intermediate: number
  readonly experts: number
  /** Number of experts per token. */
  readonly used: number
  /** Whether the router weights of a token's experts are scaled to sum to one (`norm_topk_prob`). */
  readonly renormalise: boolean
  /** Width of the shared expert, which processes every token. Default: no shared expert. */
  readonly shared?: number
}

export class MixtureOfExperts {
  /** The router. */
  readonly gate: Linear
  /** [hidden, intermediate, experts] */
  readonly gate_proj: Tensor
  readonly up_proj: Tensor
  /** [intermediate, hidden, experts] */
  readonly down_proj: Tensor
  readonly shared_expert: GatedMlp | undefined
  readonly shared_expert_gate: Linear | undefined
  readonly options: MixtureOptions

  constructor(parameters: Parameters, options: MixtureOptions) {
    const { hidden, intermediate, experts, shared } = options
    this.options = options
    this.gate = new Linear(parameters.scope('gate'), hidden, experts, { precision: 'exact' })
    const expertParameters = parameters.scope('experts')
    const request = { shape: [hidden, intermediate, experts], use: 'experts', layout: 'experts' } as const
    this.gate_proj = expertParameters.get('gate_proj.weight', request)
    this.up_proj = expertParameters.get('up_proj.weight', request)
    this.down_proj = expertParameters.get('down_proj.weight', { ...request, shape: [intermediate, hidden, experts] })
    this.shared_expert =
      shared === undefined ? undefined : new GatedMlp(parameters.scope('shared_expert'), hidden, shared)
    this.shared_expert_gate =
      shared === undefined
        ? undefined
        : new Linear(parameters.scope('shared_expert_gate'), hidden, 1, { precision: 'exact' })
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    const { hidden } = this.options
    const tokens = x.shape[1]
    const { chosen, weights } = this.route(g, x)
    const rows = g.reshape(g.cont(x), hidden, 1, tokens)
    const inner = g.swiglu(g.mulMatId(this.gate_proj, rows, chosen), g.mulMatId(this.up_proj, rows, chosen))
    return this.#withShared(g, x, g.weightedSum(g.mulMatId(this.down_proj, inner, chosen), weights))
  }

  /** Each token's experts, i32 [used, tokens], and the weights of their results, [used, tokens]. */
  route(g: GraphBuilder, x: Tensor<'f32'>): { chosen: Tensor<'i32'>; weights: Tensor<'f32'> } {
    const { experts, used, renormalise } = this.options
    const tokens = x.shape[1]
    const logits = this.gate.forward(g, x)
    // The softmax of the chosen logits is the same as renormalising the softmax of all.
    const scores = renormalise ? logits : g.softMax(logits)
    const chosen = g.topK(scores, used)
    const weights = g.reshape(g.getRows(g.reshape(scores, 1, experts, tokens), chosen), used, tokens)
    return { chosen, weights: renormalise ? g.softMax(weights) : weights }
  }

  /**
   * As {@link forward}, with one matrix product per expert, for tokens whose experts are known before the graph is
   * built. Faster when experts have several tokens each. `weights` are those of {@link route}. Declares the inputs of
   * `sortedInputs`.
   */
  forwardSorted(g: GraphBuilder, x: Tensor<'f32'>, weights: Tensor<'f32'>, sorted: SortedTokens): Tensor<'f32'> {
    const { hidden } = this.options
    const tokens = x.shape[1]
    const { tokenOfRow, rowOfChoice } = declareSorted(g, sorted)
    const contiguous = g.cont(x)
    // All experts write to one workspace.
    const rows = sorted.tokenOfRow.length
    const outer = g.view(g.workspace(hidden * rows), [hidden, rows])
    for (const { expert, start, count } of sorted.parts) {
      const input = g.getRows(contiguous, g.slice(tokenOfRow, 0, start, count))
      const gate = g.mulMat(g.expert(this.gate_proj, expert), input)
      const inner = g.swiglu(gate, g.mulMat(g.expert(this.up_proj, expert), input))
      g.effect(g.copyInto(g.mulMat(g.expert(this.down_proj, expert), inner), g.slice(outer, 1, start, count)))
    }
    let sum: Tensor<'f32'> | undefined
    for (const [i, rowOfToken] of rowOfChoice.entries()) {
      const weight = g.reshape(g.cont(g.slice(weights, 0, i, 1)), 1, tokens)
      const part = g.mul(g.getRows(outer, rowOfToken), weight)
      sum = sum ? g.add(sum, part) : part
    }
    return this.#withShared(g, x, sum ?? x)
  }

  #withShared(g: GraphBuilder, x: Tensor<'f32'>, routed: Tensor<'f32'>): Tensor<'f32'> {
    if (!this.shared_expert || !this.shared_expert_gate) return routed
    const gate = g.sigmoid(this.shared_expert_gate.forward(g, x))
    return g.add(routed, g.mul(this.shared_expert.forward(g, x), gate))
  }
}
