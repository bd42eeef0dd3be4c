/**
 * The vocoder: converts codec codes to 24 kHz samples, in streams.
 *
 * In: codes [frames, groups] in pieces of any size. Out: samples whose concatenation equals decoding all codes at once.
 * Every part is causal, so a stream only has state for the next piece: keys and values of the last window, and the
 * convolutions' history. A decoder block's samples need the next frame, so the first piece is shorter, and no samples
 * remain at the end.
 *
 * transformers' `chunked_decode` decodes chunks separately and loses that many samples at each border; its `forward` is
 * the reference here. Reference: transformers `Qwen3OmniMoeCode2Wav`.
 */

import {
  Attention,
  CausalConv1d,
  CausalConvTranspose1d,
  ConvNeXtBlock,
  Embedding,
  GatedMlp,
  LayerScale,
  PreNormLayer,
  RmsNorm,
  Rotary,
  SnakeBeta,
  type Parameters,
} from '../../nn/index.ts'
import type { GraphBuilder, Tensor } from '../../tensor/index.ts'
import type { Code2WavConfig } from './config-types.ts'

/** State tensors of a stream. */
export interface StreamState {
  /** False for the first piece, which has no state. */
  readonly started: boolean
  /** The state tensor of this name, declared when first requested: [channels, frames]. */
  carried(name: string, channels: number, frames: number): Tensor<'f32'>
}

function transformerLayer(parameters: Parameters, config: Code2WavConfig): PreNormLayer<Attention> {
  const { hidden, epsilon } = config
  return new PreNormLayer({
    attention: new Attention(parameters.scope('self_attn'), {
      hidden,
      heads: config.heads,
      keyValueHeads: config.keyValueHeads,
      headSize: config.headSize,
      bias: config.attentionBias,
      outputBias: config.attentionBias,
      precision: 'fine',
    }),
    mlp: new GatedMlp(parameters.scope('mlp'), hidden, config.feedForward, { precision: 'fine' }),
    attentionNorm: new RmsNorm(parameters.scope('input_layernorm'), hidden, epsilon),
    mlpNorm: new RmsNorm(parameters.scope('post_attention_layernorm'), hidden, epsilon),
    attentionScale: new LayerScale(parameters.scope('self_attn_layer_scale'), 'scale', hidden),
    mlpScale: new LayerScale(parameters.scope('mlp_layer_scale'), 'scale', hidden),
  })
}

class ResidualUnit {
  readonly act1: SnakeBeta
  readonly conv1: CausalConv1d
  readonly act2: SnakeBeta
  readonly conv2: CausalConv1d

  constructor(parameters: Parameters, channels: number, dilation: number) {
    this.act1 = new SnakeBeta(parameters.scope('act1'), channels)
    this.conv1 = new CausalConv1d(inner(parameters, 'conv1'), channels, channels, { kernel: 7, dilation })
    this.act2 = new SnakeBeta(parameters.scope('act2'), channels)
    this.conv2 = new CausalConv1d(inner(parameters, 'conv2'), channels, channels, { kernel: 1 })
  }
}

class DecoderBlock {
  readonly snake: SnakeBeta
  readonly upsample: CausalConvTranspose1d
  readonly units: readonly ResidualUnit[]

  constructor(parameters: Parameters, inChannels: number, outChannels: number, rate: number) {
    const block = parameters.scope('block')
    this.snake = new SnakeBeta(block.scope(0), inChannels)
    this.upsample = new CausalConvTranspose1d(inner(block, 1), inChannels, outChannels, {
      kernel: 2 * rate,
      stride: rate,
    })
    this.units = [1, 3, 9].map((dilation, i) => new ResidualUnit(block.scope(2 + i), outChannels, dilation))
  }
}

/** The checkpoint's causal convolutions hold their torch module under `conv`. */
function inner(parameters: Parameters, name: string | number): Parameters {
  return parameters.scope(name).scope('conv')
}

/** The vocoder's weights and graph. */
export class Code2WavModel {
  readonly code_embedding: Embedding
  readonly layers: readonly PreNormLayer<Attention>[]
  readonly norm: RmsNorm
  readonly rotary: Rotary
  readonly upsample: readonly { readonly conv: CausalConvTranspose1d; readonly block: ConvNeXtBlock }[]
  readonly first: CausalConv1d
  readonly blocks: readonly DecoderBlock[]
  readonly snake: SnakeBeta
  readonly last: CausalConv1d
  readonly config: Code2WavConfig

  /** `parameters`: the scope `code2wav`. */
  constructor(parameters: Parameters, config: Code2WavConfig) {
    this.config = config
    const { hidden, decoderWidth, upsampleRates, upsamplingRatios } = config
    this.code_embedding = new Embedding(
      parameters.scope('code_embedding'),
      config.codebookSize * config.codeGroups,
      hidden,
      { precision: 'fine' },
    )
    const transformer = parameters.scope('pre_transformer')
    this.layers = Array.from(
      { length: config.layers },
      (_, layer) => transformerLayer(transformer.scope('layers').scope(layer), config),
    )
    this.norm = new RmsNorm(transformer.scope('norm'), hidden, config.epsilon)
    this.rotary = new Rotary({ kind: 'plain', base: config.rotaryBase })
    this.upsample = upsamplingRatios.map((ratio, i) => {
      const pair = parameters.scope('upsample').scope(i)
      return {
        conv: new CausalConvTranspose1d(inner(pair, 0), hidden, hidden, { kernel: ratio, stride: ratio }),
        block: new ConvNeXtBlock(pair.scope(1), hidden),
      }
    })
    const decoder = parameters.scope('decoder')
    this.first = new CausalConv1d(inner(decoder, 0), hidden, decoderWidth, { kernel: 7 })
    this.blocks = upsampleRates.map(
      (rate, i) => new DecoderBlock(decoder.scope(1 + i), decoderWidth / 2 ** i, decoderWidth / 2 ** (i + 1), rate),
    )
    const narrow = decoderWidth / 2 ** upsampleRates.length
    this.snake = new SnakeBeta(decoder.scope(1 + upsampleRates.length), narrow)
    this.last = new CausalConv1d(inner(decoder, 2 + upsampleRates.length), narrow, 1, { kernel: 7 })
  }

  /** Samples per code frame. */
  get samplesPerFrame(): number {
    return [...this.config.upsampleRates, ...this.config.upsamplingRatios].reduce((total, rate) => total * rate, 1)
  }

  /** Samples that the first `frames` frames complete; at most 0 while there are too few. */
  samplesAfter(frames: number): number {
    let length = frames
    for (const ratio of this.config.upsamplingRatios) length *= ratio
    for (const rate of this.config.upsampleRates) length = (length - 1) * rate
    return length
  }

  /** Frames of keys and values in a stream's state per layer: those that the next frame attends to. */
  get carriedFrames(): number {
    return this.config.window - 1
  }

  /** Samples [count] of a piece of `frames` frames. Declares `codes` [groups * frames], `positions` and `mask`. */
  forward(g: GraphBuilder, frames: number, state: StreamState): Tensor<'f32'> {
    const { hidden, codeGroups } = this.config
    const rows = this.code_embedding.forward(g, g.input('codes', 'i32', [codeGroups * frames]))
    let x: Tensor<'f32'> | undefined
    for (let group = 0; group < codeGroups; group++) {
      const part = g.view(rows, [hidden, frames], {
        strides: [rows.strides[1]],
        offset: group * frames * rows.strides[1],
      })
      x = x ? g.add(x, part) : part
    }
    if (!x) throw new RangeError('no code groups')
    x = this.#transform(g, g.scale(g.cont(x), 1 / codeGroups), frames, state)
    for (const [i, { conv, block }] of this.upsample.entries()) {
      x = conv.forward(g, x)
      x = carry(g, state, `upsample.${i}`, x, block.context, (history, input) => block.forward(g, input, history))
    }
    const workspace = this.#workspace(g, x.shape[1])
    x = this.#causal(g, state, 'first', this.first, x, workspace)
    for (const [i, block] of this.blocks.entries()) {
      const { upsample } = block
      x = carry(g, state, `block.${i}`, block.snake.forward(g, x), upsample.context, (history, input) =>
        upsample.forward(g, input, state.started ? history : undefined),
      )
      for (const [j, unit] of block.units.entries()) {
        const filtered = this.#causal(g, state, `block.${i}.${j}`, unit.conv1, unit.act1.forward(g, x), workspace)
        x = g.add(x, unit.conv2.forward(g, unit.act2.forward(g, filtered)))
      }
    }
    const wave = this.#causal(g, state, 'last', this.last, this.snake.forward(g, x), workspace)
    return g.reshape(wave, wave.shape[1])
  }

  #causal(
    g: GraphBuilder,
    state: StreamState,
    name: string,
    convolution: CausalConv1d,
    x: Tensor<'f32'>,
    workspace: Tensor<'f32'> | undefined,
  ): Tensor<'f32'> {
    return carry(g, state, name, x, convolution.context, (history, input) =>
      convolution.forward(g, input, history, workspace),
    )
  }

  /**
   * Working memory that the convolutions after `frames` upsampled frames share for their windows.
   */
  #workspace(g: GraphBuilder, frames: number): Tensor<'f32'> | undefined {
    if (g.backend.kind !== 'cpu') return undefined
    let count = this.first.workspaceFor(frames)
    let length = frames
    for (const { upsample, units } of this.blocks) {
      length *= upsample.stride
      for (const { conv1 } of units) count = Math.max(count, conv1.workspaceFor(length))
    }
    return g.workspace(Math.max(count, this.last.workspaceFor(length)))
  }

  #transform(g: GraphBuilder, x: Tensor<'f32'>, frames: number, state: StreamState): Tensor<'f32'> {
    const { heads, keyValueHeads, headSize } = this.config
    const past = this.carriedFrames
    const width = keyValueHeads * headSize
    const positions = this.rotary.input(g, frames)
    const mask = g.input('mask', 'f16', [past + frames, frames])
    let hidden = x
    const attend = (attention: Attention, normed: Tensor<'f32'>, i: number): Tensor<'f32'> => {
      const { q, k, v } = attention.project(g, normed, { rotary: this.rotary, positions })
      const extended = (name: string, fresh: Tensor<'f32'>): Tensor<'f32'> => {
        const flat = g.reshape(g.cont(fresh), width, frames)
        return carry(g, state, `${name}.${i}`, flat, past, (history, input) =>
          history ? g.concat(history, input, 1) : input,
        )
      }
      const stored = (all: Tensor<'f32'>): Tensor<'f32'> =>
        g.view(all, [headSize, past + frames, keyValueHeads], { strides: [all.strides[1], headSize * 4] })
      const keys = stored(extended('keys', k))
      const values = stored(extended('values', v))
      const attended = g.flashAttention(g.permute(q, 0, 2, 1, 3), keys, values, mask, headSize ** -0.5)
      return attention.o_proj.forward(g, g.reshape(attended, heads * headSize, frames))
    }
    for (const [i, layer] of this.layers.entries())
      hidden = layer.forward(g, hidden, (attention, normed) => attend(attention, normed, i))
    return this.norm.forward(g, hidden)
  }
}

/**
 * Runs `apply` on x with the preceding frames, then stores the last `context` frames for the next piece. The order
 * matters: the state is read before it is overwritten.
 */
function carry(
  g: GraphBuilder,
  state: StreamState,
  name: string,
  x: Tensor<'f32'>,
  context: number,
  apply: (history: Tensor<'f32'> | undefined, x: Tensor<'f32'>) => Tensor<'f32'>,
): Tensor<'f32'> {
  if (context === 0) return apply(undefined, x)
  const [channels, frames] = x.shape
  const history = state.carried(name, channels, context)
  const y = apply(history, x)
  g.effect(y)
  const recent =
    frames >= context
      ? g.slice(x, 1, frames - context, context)
      : g.concat(g.slice(history, 1, frames, context - frames), x, 1)
  g.effect(g.copyInto(g.cont(recent), history))
  return y
}
