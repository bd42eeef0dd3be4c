/**
 * The diffusion transformer (DiT) of token2wav: its weights and graphs.
 *
 * It computes the velocity of a mel spectrogram at a time between noise (0) and speech (1). Constant values of a
 * request are computed once: the voice's part of the input, the codes' part of a window, and the modulations, which
 * depend only on the time. Guidance needs two rows, with and without voice and codes, which run as one batch.
 *
 * Attention is by blocks of frames: a layer attends to its own block, and some layers also to the previous or next one.
 * Reference: transformers `Qwen2_5OmniToken2WavDiTModel`.
 */

import { Embedding, Linear, type Parameters } from '../../../nn/index.ts'
import type { GraphBuilder, Tensor } from '../../../tensor/index.ts'
import { blockRange, type BlockReach } from './block-attention.ts'
import type { DitConfig } from './config.ts'
import { SpeakerEncoder } from './speaker-encoder.ts'

const EPSILON = 1e-6
/** Quantized to 4 bits only on request. */
const FINE = { bias: true, precision: 'fine' } as const
/** Sines and cosines that encode a time. */
export const TIME_FEATURES = 256

class Attention {
  readonly to_q: Linear
  readonly to_k: Linear
  readonly to_v: Linear
  readonly to_out: Linear

  constructor(parameters: Parameters, config: DitConfig) {
    const inner = config.heads * config.headSize
    const linear = (name: string): Linear => new Linear(parameters.scope(name), config.hidden, inner, FINE)
    this.to_q = linear('to_q')
    this.to_k = linear('to_k')
    this.to_v = linear('to_v')
    this.to_out = new Linear(parameters.scope('to_out').scope(0), inner, config.hidden, FINE)
  }
}

class Layer {
  /** Time embedding to shift, scale and gate of the attention, then of the feed-forward part. */
  readonly modulation: StoredLinear
  readonly attn: Attention
  readonly ff_in: Linear
  readonly ff_out: Linear
  readonly reach: BlockReach

  constructor(parameters: Parameters, config: DitConfig, index: number) {
    const { hidden, feedForward } = config
    this.modulation = new StoredLinear(parameters.scope('attn_norm').scope('linear'), hidden, 6 * hidden)
    this.attn = new Attention(parameters.scope('attn'), config)
    const ff = parameters.scope('ff').scope('ff')
    this.ff_in = new Linear(ff.scope(0), hidden, feedForward, FINE)
    this.ff_out = new Linear(ff.scope(3), feedForward, hidden, FINE)
    this.reach = { back: config.lookBack.has(index) ? 1 : 0, ahead: config.lookAhead.has(index) ? 1 : 0 }
  }
}

/**
 * A linear layer that runs only during the preparation of voices and modulations. Its weight is read from the file.
 */
class StoredLinear {
  readonly weight: Tensor
  readonly bias: Tensor<'f32'>

  constructor(parameters: Parameters, inFeatures: number, outFeatures: number) {
    this.weight = parameters.get('weight', { shape: [inFeatures, outFeatures], use: 'other', precision: 'fine' })
    this.bias = parameters.vector('bias', [outFeatures])
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    return g.add(g.mulMat(this.weight, x), this.bias)
  }
}

/** Shape of one velocity graph. */
export interface VelocityShape {
  /** Mel frames, a multiple of the block. */
  readonly frames: number
  /** Of them, padding frames at the end. */
  readonly empty: number
  /** Two rows, or only the conditioned one. */
  readonly guided: boolean
}

export class DitModel {
  readonly config: DitConfig
  readonly time_mlp: readonly [StoredLinear, StoredLinear]
  readonly codec_embed: Embedding
  readonly spk_encoder: SpeakerEncoder
  readonly layers: readonly Layer[]
  readonly norm_out: StoredLinear
  /** Weight [mels + speaker + code + condition, hidden], whose parts are multiplied separately. */
  readonly proj: { readonly weight: Tensor; readonly bias: Tensor<'f32'> }
  readonly proj_out: Linear
  readonly #frequencies: Tensor<'f32'> | undefined

  /** `parameters`: the scope `token2wav.code2wav_dit_model`. */
  constructor(parameters: Parameters, config: DitConfig) {
    this.config = config
    const { hidden, mels, codeWidth, conditionWidth, speaker } = config
    const time = parameters.scope('time_embed').scope('time_mlp')
    this.time_mlp = [new StoredLinear(time.scope(0), TIME_FEATURES, hidden), new StoredLinear(time.scope(2), hidden, hidden)]
    this.codec_embed = new Embedding(parameters.scope('text_embed').scope('codec_embed'), config.codes + 1, codeWidth, {
      precision: 'fine',
    })
    const input = parameters.scope('input_embed')
    const width = mels + speaker.output + codeWidth + conditionWidth
    const proj = input.scope('proj')
    // Its parts are read separately, so quantized blocks must not cross their borders.
    this.proj = {
      weight: proj.get('weight', { shape: [width, hidden], use: 'other', precision: 'exact' }),
      bias: proj.vector('bias', [hidden]),
    }
    this.spk_encoder = new SpeakerEncoder(input.scope('spk_encoder'), speaker)
    this.#frequencies = parameters.scope('rotary_embed').optionalVector('inv_freq', [config.headSize / 2])
    const blocks = parameters.scope('transformer_blocks')
    this.layers = Array.from({ length: config.layers }, (_, i) => new Layer(blocks.scope(i), config, i))
    this.norm_out = new StoredLinear(parameters.scope('norm_out').scope('linear'), hidden, 2 * hidden)
    this.proj_out = new Linear(parameters.scope('proj_out'), hidden, mels, { bias: true, precision: 'exact' })
  }

  /** Values of one time's modulation, as {@link velocity} takes it. */
  get modulationSize(): number {
    return (6 * this.config.layers + 2) * this.config.hidden
  }

  /**
   * Modulations of several times, in parts: `layer.N` [6 hidden, times] and `last` [2 hidden, times]. Declares
   * `features` [TIME_FEATURES, times].
   */
  modulations(g: GraphBuilder, times: number): Record<string, Tensor<'f32'>> {
    const [first, second] = this.time_mlp
    const embedded = second.forward(g, g.silu(first.forward(g, g.input('features', 'f32', [TIME_FEATURES, times]))))
    const x = g.silu(embedded)
    const parts: Record<string, Tensor<'f32'>> = { last: this.norm_out.forward(g, x) }
    for (const [i, layer] of this.layers.entries()) parts[`layer.${i}`] = layer.modulation.forward(g, x)
    return parts
  }

  /**
   * A voice's part of the input, [hidden] each: `guided` to be added to each frame's code, `free` the whole of the row
   * without voice and codes. Declares `mel` [mels, frames], `silence` the same in zeros, `condition` [conditionWidth],
   * `code` [1] (0).
   */
  voice(g: GraphBuilder, frames: number): { guided: Tensor<'f32'>; free: Tensor<'f32'> } {
    const { mels, conditionWidth } = this.config
    const speaker = this.spk_encoder.forward(g, g.input('mel', 'f32', [mels, frames]))
    const silent = this.spk_encoder.forward(g, g.input('silence', 'f32', [mels, frames]))
    const condition = g.mulMat(this.#part(g, 'condition'), g.input('condition', 'f32', [conditionWidth]))
    const noCode = this.#codes(g, g.input('code', 'i32', [1]))
    const projected = (vector: Tensor<'f32'>): Tensor<'f32'> =>
      g.add(g.mulMat(this.#part(g, 'speaker'), vector), this.proj.bias)
    return { guided: g.add(projected(speaker), condition), free: g.add(projected(silent), g.reshape(noCode, this.config.hidden)) }
  }

  /** Only the speaker encoder, [output]. Declares `mel` [mels, frames]. */
  speaker(g: GraphBuilder, frames: number): Tensor<'f32'> {
    return this.spk_encoder.forward(g, g.input('mel', 'f32', [this.config.mels, frames]))
  }

  /**
   * Input of a window's frames but for the noisy mel: [hidden, frames]. Declares `codes` [frames] and `guided`
   * [hidden].
   */
  condition(g: GraphBuilder, frames: number): Tensor<'f32'> {
    const codes = this.#codes(g, g.input('codes', 'i32', [frames]))
    return g.add(codes, g.input('guided', 'f32', [this.config.hidden]))
  }

  /**
   * Velocity [mels, frames * rows], the conditioned row first. Declares `state` [mels, frames], `condition` [hidden,
   * frames], `free` [hidden] when guided, `modulation` [modulationSize] with 1 added to each scale,
   * `positions` [frames * rows], and the inputs of {@link blockRange}.
   */
  velocity(g: GraphBuilder, shape: VelocityShape): Tensor<'f32'> {
    const { hidden, mels, layers, block } = this.config
    const rows = shape.guided ? 2 : 1
    const { frames } = shape
    const noisy = g.mulMat(this.#part(g, 'mel'), g.input('state', 'f32', [mels, frames]))
    const conditioned = g.add(noisy, g.input('condition', 'f32', [hidden, frames]))
    let x = shape.guided ? g.concat(conditioned, g.add(noisy, g.input('free', 'f32', [hidden])), 1) : conditioned
    const modulation = g.input('modulation', 'f32', [this.modulationSize])
    const part = (index: number): Tensor<'f32'> => g.slice(modulation, 0, index * hidden, hidden)
    const positions = g.input('positions', 'i32', [frames * rows])
    const factors = this.#frequencyFactors(g)
    const ranges = new Map<string, ReturnType<typeof blockRange>>()
    for (const [i, layer] of this.layers.entries()) {
      const { back, ahead } = layer.reach
      const key = `${back} ${ahead}`
      const range = ranges.get(key) ?? blockRange(g, { block, blocks: (frames * rows) / block, empty: shape.empty, reach: layer.reach })
      ranges.set(key, range)
      const m = (index: number): Tensor<'f32'> => part(6 * i + index)
      const normed = g.add(g.mul(g.layerNorm(x, EPSILON), m(1)), m(0))
      const attended = this.#attend(g, layer.attn, normed, { positions, factors, range })
      x = g.add(x, g.mul(attended, m(2)))
      const fed = g.add(g.mul(g.layerNorm(x, EPSILON), m(4)), m(3))
      x = g.add(x, g.mul(layer.ff_out.forward(g, g.geluTanh(layer.ff_in.forward(g, fed))), m(5)))
    }
    const last = g.add(g.mul(g.layerNorm(x, EPSILON), part(6 * layers)), part(6 * layers + 1))
    return this.proj_out.forward(g, last)
  }

  #attend(
    g: GraphBuilder,
    attention: Attention,
    x: Tensor<'f32'>,
    options: {
      positions: Tensor<'i32'>
      factors: Tensor<'f32'> | undefined
      range: ReturnType<typeof blockRange>
    },
  ): Tensor<'f32'> {
    const { heads, headSize, rotaryBase } = this.config
    const tokens = x.shape[1]
    // Rotary embeddings apply only to the first head.
    const turn = (projected: Tensor<'f32'>): Tensor<'f32'> => {
      const row = projected.strides[1]
      const head = g.view(projected, [headSize, 1, tokens], { strides: [row, row] })
      const turned = g.rotary(head, options.positions, {
        dimensions: headSize,
        base: rotaryBase,
        style: 'interleaved',
        ...(options.factors && { frequencyFactors: options.factors }),
      })
      g.effect(g.copyInto(turned, head))
      return projected
    }
    const q = turn(attention.to_q.forward(g, x))
    const k = turn(attention.to_k.forward(g, x))
    const v = attention.to_v.forward(g, x)
    return attention.to_out.forward(g, options.range.attend(g, { q, k, v, heads, headSize }))
  }

  #codes(g: GraphBuilder, ids: Tensor<'i32'>): Tensor<'f32'> {
    return g.mulMat(this.#part(g, 'code'), this.codec_embed.forward(g, ids))
  }

  /** The columns of the input projection that read one part of the input. */
  #part(g: GraphBuilder, name: 'mel' | 'speaker' | 'code' | 'condition'): Tensor {
    const { mels, codeWidth, conditionWidth, speaker } = this.config
    const widths = { mel: mels, speaker: speaker.output, code: codeWidth, condition: conditionWidth }
    let from = 0
    for (const [key, width] of Object.entries(widths)) {
      if (key === name) return g.slice(this.proj.weight, 0, from, width)
      from += width
    }
    throw new RangeError(name)
  }

  /** Ratio of the formula's frequencies to the stored ones. */
  #frequencyFactors(g: GraphBuilder): Tensor<'f32'> | undefined {
    if (!this.#frequencies) return undefined
    const { headSize, rotaryBase } = this.config
    const exponents = g.scale(g.arange(headSize / 2), (-2 * Math.log(rotaryBase)) / headSize)
    return g.div(g.exp(exponents), this.#frequencies)
  }
}
