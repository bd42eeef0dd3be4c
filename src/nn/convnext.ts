/**
 * ConvNeXt block over time: depthwise causal convolution, layer norm, two linear layers with GELU, learned scale,
 * residual.
 *
 * x: [channels, time] to the same. Reference: transformers `Qwen3OmniMoeConvNeXtBlock`.
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'
import { DepthwiseCausalConv1d } from './convolution.ts'
import { Linear } from './linear.ts'
import { LayerNorm, LayerScale } from './norm.ts'
import type { Parameters } from './parameters.ts'

export class ConvNeXtBlock {
  readonly dwconv: DepthwiseCausalConv1d
  readonly norm: LayerNorm
  readonly pwconv1: Linear
  readonly pwconv2: Linear
  readonly gamma: LayerScale
  /** Number of frames before x that the first output depends on. */
  readonly context: number

  constructor(parameters: Parameters, channels: number) {
    // The checkpoint's name of the Conv1d within its causal convolution is `conv`.
    this.dwconv = new DepthwiseCausalConv1d(parameters.scope('dwconv').scope('conv'), channels, 7)
    this.norm = new LayerNorm(parameters.scope('norm'), channels, 1e-6)
    this.pwconv1 = new Linear(parameters.scope('pwconv1'), channels, 4 * channels, { bias: true, precision: 'fine' })
    this.pwconv2 = new Linear(parameters.scope('pwconv2'), 4 * channels, channels, { bias: true, precision: 'fine' })
    this.gamma = new LayerScale(parameters, 'gamma', channels)
    this.context = this.dwconv.context
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>, history?: Tensor<'f32'>): Tensor<'f32'> {
    const inner = g.geluErf(this.pwconv1.forward(g, this.norm.forward(g, this.dwconv.forward(g, x, history))))
    return g.add(x, this.gamma.forward(g, this.pwconv2.forward(g, inner)))
  }
}
