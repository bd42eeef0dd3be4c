/**
 * ECAPA-TDNN: converts a voice's reference mel spectrogram to one vector. It runs once per voice.
 *
 * In: mel [mels, frames]. Out: [output]. Weights stay f32.
 * Reference: transformers `ECAPA_TimeDelayNet`.
 */

import { TensorError, type GraphBuilder, type Tensor } from '../../../tensor/index.ts'
import type { Parameters } from '../../../nn/index.ts'
import type { SpeakerEncoderConfig } from './config.ts'

/** Conv1d of the same length, edges reflected. x: [in, time] to [out, time]. */
class ReflectConv1d {
  readonly weight: Tensor
  readonly bias: Tensor<'f32'>
  readonly #kernel: number
  readonly #dilation: number

  constructor(parameters: Parameters, inChannels: number, outChannels: number, kernel = 1, dilation = 1) {
    this.#kernel = kernel
    this.#dilation = dilation
    this.weight = parameters.get('weight', {
      shape: [inChannels * kernel, outChannels],
      use: 'matmul',
      layout: 'conv-windows',
      precision: 'exact',
    })
    this.bias = parameters.vector('bias', [outChannels])
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    if (this.#kernel === 1) return g.add(g.mulMat(this.weight, x), this.bias)
    const time = x.shape[1]
    const total = this.#dilation * (this.#kernel - 1)
    const before = Math.floor(total / 2)
    if (total - before >= time)
      throw new TensorError(`a reference of ${time} frames is too short: ${total - before + 1} are needed`)
    // |i|, then T - 1 - |T - 1 - i|: mirrored at the first and at the last frame.
    const fromFirst = g.abs(g.scale(g.arange(time + total), 1, -before))
    const fromLast = g.abs(g.scale(fromFirst, -1, time - 1))
    const rows = g.cast(g.scale(fromLast, -1, time - 1), 'i32')
    const padded = g.getRows(g.cont(x), rows)
    const windows = g.windows(padded, time, { kernel: this.#kernel, dilation: this.#dilation })
    return g.add(g.mulMat(this.weight, windows), this.bias)
  }
}

/** Convolution and ReLU. */
class TdnnBlock {
  readonly conv: ReflectConv1d

  constructor(parameters: Parameters, inChannels: number, outChannels: number, kernel = 1, dilation = 1) {
    this.conv = new ReflectConv1d(parameters.scope('conv'), inChannels, outChannels, kernel, dilation)
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    return g.relu(this.conv.forward(g, x))
  }
}

class SqueezeExcitationBlock {
  readonly tdnn1: TdnnBlock
  readonly res2net: readonly TdnnBlock[]
  readonly tdnn2: TdnnBlock
  readonly squeeze: ReflectConv1d
  readonly excite: ReflectConv1d
  readonly #parts: number

  constructor(parameters: Parameters, channels: number, kernel: number, dilation: number, config: SpeakerEncoderConfig) {
    this.#parts = config.parts
    const width = channels / config.parts
    this.tdnn1 = new TdnnBlock(parameters.scope('tdnn1'), channels, channels)
    const res2net = parameters.scope('res2net_block').scope('blocks')
    this.res2net = Array.from(
      { length: config.parts - 1 },
      (_, i) => new TdnnBlock(res2net.scope(i), width, width, kernel, dilation),
    )
    this.tdnn2 = new TdnnBlock(parameters.scope('tdnn2'), channels, channels)
    const squeeze = parameters.scope('se_block')
    this.squeeze = new ReflectConv1d(squeeze.scope('conv1'), channels, config.squeezeChannels)
    this.excite = new ReflectConv1d(squeeze.scope('conv2'), config.squeezeChannels, channels)
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    const split = this.tdnn1.forward(g, x)
    const width = split.shape[0] / this.#parts
    let joined = g.cont(g.slice(split, 0, 0, width))
    let before: Tensor<'f32'> | undefined
    for (const [i, block] of this.res2net.entries()) {
      const part = g.cont(g.slice(split, 0, (i + 1) * width, width))
      before = block.forward(g, before ? g.add(part, before) : part)
      joined = g.concat(joined, before, 0)
    }
    const y = this.tdnn2.forward(g, joined)
    const mean = g.reshape(g.meanRows(g.cont(g.transpose(y))), y.shape[0])
    const weight = g.sigmoid(this.excite.forward(g, g.relu(this.squeeze.forward(g, mean))))
    return g.add(g.mul(y, weight), x)
  }
}

/** Smallest variance, as in the reference. */
const EPSILON = 1e-12

export class SpeakerEncoder {
  readonly first: TdnnBlock
  readonly blocks: readonly SqueezeExcitationBlock[]
  readonly mfa: TdnnBlock
  readonly attention: { readonly tdnn: TdnnBlock; readonly conv: ReflectConv1d }
  readonly fc: ReflectConv1d

  /** `parameters`: the scope `spk_encoder`. */
  constructor(parameters: Parameters, config: SpeakerEncoderConfig) {
    const { channels, kernels, dilations } = config
    const list = parameters.scope('blocks')
    const joined = channels.at(-1) ?? 0
    this.first = new TdnnBlock(list.scope(0), config.mels, channels[0] ?? 0, kernels[0], dilations[0])
    this.blocks = channels
      .slice(1, -1)
      .map(
        (width, i) => new SqueezeExcitationBlock(list.scope(i + 1), width, kernels[i + 1] ?? 1, dilations[i + 1] ?? 1, config),
      )
    this.mfa = new TdnnBlock(parameters.scope('mfa'), joined, joined, kernels.at(-1), dilations.at(-1))
    const pooling = parameters.scope('asp')
    this.attention = {
      tdnn: new TdnnBlock(pooling.scope('tdnn'), 3 * joined, config.attentionChannels),
      conv: new ReflectConv1d(pooling.scope('conv'), config.attentionChannels, joined),
    }
    this.fc = new ReflectConv1d(parameters.scope('fc'), 2 * joined, config.output)
  }

  forward(g: GraphBuilder, mel: Tensor<'f32'>): Tensor<'f32'> {
    let x = this.first.forward(g, mel)
    let joined: Tensor<'f32'> | undefined
    for (const block of this.blocks) {
      x = block.forward(g, x)
      joined = joined ? g.concat(joined, x, 0) : x
    }
    const y = this.mfa.forward(g, joined ?? x)
    const [channels, time] = y.shape
    const byTime = g.cont(g.transpose(y)) // [time, channels]
    const even = g.repeat(g.scale(g.arange(1), 0, 1 / time), time, channels)
    const statistics = this.#statistics(g, byTime, even)
    const wide = (part: Tensor<'f32'>): Tensor<'f32'> => g.repeat(part, channels, time)
    const seen = g.concat(g.concat(y, wide(statistics.mean), 0), wide(statistics.deviation), 0)
    const scores = this.attention.conv.forward(g, g.tanh(this.attention.tdnn.forward(g, seen)))
    const weights = g.softMax(g.cont(g.transpose(scores)))
    const pooled = this.#statistics(g, byTime, weights)
    const vector = this.fc.forward(g, g.concat(pooled.mean, pooled.deviation, 0))
    return g.reshape(vector, vector.shape[0])
  }

  /** Weighted mean and standard deviation over time: x and weights [time, channels] to [channels] each. */
  #statistics(
    g: GraphBuilder,
    x: Tensor<'f32'>,
    weights: Tensor<'f32'>,
  ): { mean: Tensor<'f32'>; deviation: Tensor<'f32'> } {
    const mean = g.sumRows(g.mul(x, weights)) // [1, channels]
    const variance = g.sumRows(g.mul(g.sqr(g.sub(x, mean)), weights))
    const deviation = g.sqrt(g.clamp(variance, EPSILON, Number.MAX_VALUE))
    return { mean: g.reshape(mean, x.shape[1]), deviation: g.reshape(deviation, x.shape[1]) }
  }
}
