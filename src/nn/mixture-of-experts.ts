/**
 * Sparse mixture of experts: each token goes through its top-k experts, weighted by the router.
 *
 * x: [hidden, tokens] to [hidden, tokens]. Reference: transformers `Qwen3OmniMoeThinkerTextSparseMoeBlock` (no shared
 * expert) and `Qwen3OmniMoeTalkerTextSparseMoeBlock` (shared expert behind a sigmoid gate).
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'
import { Linear } from './linear.ts'
import { GatedMlp } from './mlp.ts'
import type { Parameters } from './parameters.ts'

export interface MixtureOptions {
  readonly hidden: number
  /** Width of one expert. */
  readonly intermediate: number
  readonly experts: number
  /** Experts per token. */
  readonly used: number
  /** Router weights of the chosen experts are scaled to sum to one (`norm_topk_prob`). */
  readonly renormalise: boolean
  /** Width of the expert that every token goes through, where there is one. */
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
  readonly #options: MixtureOptions

  constructor(parameters: Parameters, options: MixtureOptions) {
    const { hidden, intermediate, experts, shared } = options
    this.#options = options
    this.gate = new Linear(parameters.scope('gate'), hidden, experts, { precision: 'exact' })
    const inside = parameters.scope('experts')
    const into = { shape: [hidden, intermediate, experts], use: 'experts', layout: 'experts' } as const
    this.gate_proj = inside.get('gate_proj.weight', into)
    this.up_proj = inside.get('up_proj.weight', into)
    this.down_proj = inside.get('down_proj.weight', { ...into, shape: [intermediate, hidden, experts] })
    this.shared_expert =
      shared === undefined ? undefined : new GatedMlp(parameters.scope('shared_expert'), hidden, shared)
    this.shared_expert_gate =
      shared === undefined
        ? undefined
        : new Linear(parameters.scope('shared_expert_gate'), hidden, 1, { precision: 'exact' })
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    const { hidden, experts, used, renormalise } = this.#options
    const tokens = x.shape[1]
    const probabilities = g.softMax(this.gate.forward(g, x))
    const chosen = g.topK(probabilities, used)
    let weights = g.reshape(g.getRows(g.reshape(probabilities, 1, experts, tokens), chosen), used, tokens)
    if (renormalise) weights = g.div(weights, g.sumRows(weights))
    const rows = g.reshape(g.cont(x), hidden, 1, tokens)
    const inner = g.swiglu(g.mulMatId(this.gate_proj, rows, chosen), g.mulMatId(this.up_proj, rows, chosen))
    const outer = g.mul(g.mulMatId(this.down_proj, inner, chosen), g.reshape(weights, 1, used, tokens))
    let sum: Tensor<'f32'> | undefined
    for (let i = 0; i < used; i++) {
      const part = g.view(outer, [hidden, tokens], { strides: [outer.strides[2]], offset: i * outer.strides[1] })
      sum = sum ? g.add(sum, part) : part
    }
    const routed = used === 1 && sum ? g.cont(sum) : (sum ?? x)
    if (!this.shared_expert || !this.shared_expert_gate) return routed
    const gate = g.sigmoid(this.shared_expert_gate.forward(g, x))
    return g.add(routed, g.mul(this.shared_expert.forward(g, x), gate))
  }
}
