/**
 * BigVGAN, the vocoder of token2wav: mel to 24 kHz samples. Weights and graph.
 *
 * In: mel frames (natural logarithm of amplitude) with their neighbours. Out: the samples of the requested frames,
 * which equal those of the whole sequence, because every stage computes exactly the input of the next. Reference:
 * transformers `Qwen2_5OmniToken2WavBigVGANModel`.
 */

import type { Parameters } from '../../../nn/index.ts'
import { type GraphBuilder, type Tensor } from '../../../tensor/index.ts'
import { AntiAliasedSnake, SNAKE_CORE, SNAKE_REACH, snakeFilters, type SnakeFilters } from './anti-aliased-snake.ts'
import type { BigVganConfig } from './config.ts'
import { SameConv1d, SameConvTranspose1d, type ConvolutionWorkspace } from './same-convolution.ts'

/** exp, 20 log10, -20 dB and the scale of 115 dB in one: the network's input is clamped to [-1, 1]. */
const MEL_SCALE = (2 * 20) / Math.log(10) / 115
const MEL_SHIFT = (2 * (115 - 20)) / 115 - 1

/** Frames or samples from `from` to before `to`, counted from the first requested frame. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** The frames of a graph, which is computed as if the sequence started and ended with them. */
export interface VocoderShape {
  /** Frames whose samples are requested. */
  readonly frames: number
  /** Frames given before and after them. */
  readonly before: number
  readonly after: number
}

/** Three pairs of convolutions with activations before them, each pair added to its input. */
class AmpBlock {
  readonly pairs: readonly {
    readonly act1: AntiAliasedSnake
    readonly conv1: SameConv1d
    readonly act2: AntiAliasedSnake
    readonly conv2: SameConv1d
    /** Of the convolutions. */
    readonly reach: number
  }[]

  constructor(parameters: Parameters, channels: number, kernel: number, dilations: readonly number[]) {
    const scope = (list: string, index: number): Parameters => parameters.scope(list).scope(index)
    this.pairs = dilations.map((dilation, i) => {
      const conv1 = new SameConv1d(scope('convs1', i), channels, channels, { kernel, dilation })
      const conv2 = new SameConv1d(scope('convs2', i), channels, channels, { kernel })
      return {
        act1: new AntiAliasedSnake(scope('activations', 2 * i), channels),
        conv1,
        act2: new AntiAliasedSnake(scope('activations', 2 * i + 1), channels),
        conv2,
        reach: conv1.reach + conv2.reach,
      }
    })
  }

  /** Samples on each side that a result depends on, if an activation depends on `snake` samples. */
  reach(snake: number): number {
    return this.pairs.reduce((sum, { reach }) => sum + reach + 2 * snake, 0)
  }
}

interface Stage {
  readonly up: SameConvTranspose1d
  readonly blocks: readonly AmpBlock[]
  /** Samples per frame after it. */
  readonly rate: number
}

/** Input and output of each stage, in its own samples. */
interface Plan {
  /** Mel frames of input. */
  readonly mel: Span
  readonly first: Span
  readonly stages: readonly { readonly reads: Span; readonly upsampled: Span; readonly gives: Span }[]
}

export class BigVganModel {
  readonly config: BigVganConfig
  readonly conv_pre: SameConv1d
  readonly stages: readonly Stage[]
  readonly activation_post: AntiAliasedSnake
  readonly conv_post: SameConv1d
  /** Samples of a frame. */
  readonly hop: number
  /**
   * Frames before and after a frame that affect its samples. The filters' ends reach a few more, with an effect below
   * f32's precision.
   */
  readonly context: { readonly before: number; readonly after: number }

  /** `parameters`: the scope `token2wav.code2wav_bigvgan_model`. */
  constructor(parameters: Parameters, config: BigVganConfig) {
    this.config = config
    const { width, rates, kernels, blockKernels, blockDilations } = config
    this.conv_pre = new SameConv1d(parameters.scope('conv_pre'), config.mels, width, { kernel: 7 })
    const resblocks = parameters.scope('resblocks')
    let rate = 1
    this.stages = rates.map((stride, i) => {
      rate *= stride
      const channels = width / 2 ** (i + 1)
      const up = new SameConvTranspose1d(parameters.scope('ups').scope(i).scope(0), 2 * channels, channels, {
        kernel: kernels[i] ?? stride,
        stride,
      })
      const blocks = blockKernels.map(
        (kernel, j) =>
          new AmpBlock(resblocks.scope(i * blockKernels.length + j), channels, kernel, blockDilations[j] ?? []),
      )
      return { up, blocks, rate }
    })
    const narrow = width / 2 ** rates.length
    this.activation_post = new AntiAliasedSnake(parameters.scope('activation_post'), narrow)
    this.conv_post = new SameConv1d(parameters.scope('conv_post'), narrow, 1, { kernel: 7, bias: config.lastBias })
    this.hop = rate
    const { mel } = this.#plan({ frames: 1, before: Infinity, after: Infinity }, SNAKE_CORE)
    this.context = { before: -mel.from, after: mel.to - 1 }
  }

  /** Samples [frames * hop]. Declares `mel` [mels, before + frames + after]. */
  forward(g: GraphBuilder, shape: VocoderShape): Tensor<'f32'> {
    const plan = this.#plan(shape)
    const given = g.input('mel', 'f32', [this.config.mels, shape.before + shape.frames + shape.after])
    const filters = snakeFilters(g)
    const workspace = this.#workspace(g, plan)
    const mel = crop(g, given, { from: -shape.before, to: shape.frames + shape.after }, plan.mel)
    const scaled = g.clamp(g.scale(g.cont(mel), MEL_SCALE, MEL_SHIFT), -1, 1)
    let x = crop(g, this.conv_pre.forward(g, scaled, workspace), plan.mel, plan.first)
    for (const [i, { up, blocks }] of this.stages.entries()) {
      const spans = plan.stages[i]
      if (!spans) throw new RangeError(`no stage ${i}`)
      const covered = { from: spans.reads.from * up.stride, to: spans.reads.to * up.stride }
      const upsampled = crop(g, up.forward(g, x), covered, spans.upsampled)
      const limits = limitsOf(shape, this.stages[i]?.rate ?? 1)
      let sum: Tensor<'f32'> | undefined
      for (const block of blocks) {
        const y = this.#amp(g, block, upsampled, { from: spans.upsampled, gives: spans.gives, limits, filters, workspace })
        sum = sum ? g.add(sum, y) : y
      }
      x = g.scale(g.cont(sum ?? upsampled), 1 / blocks.length)
    }
    const last = plan.stages.at(-1)?.gives ?? plan.first
    const wave = this.conv_post.forward(g, this.activation_post.forward(g, g.cont(x), filters), workspace)
    const asked = crop(g, wave, last, { from: 0, to: shape.frames * this.hop })
    return g.clamp(g.reshape(g.cont(asked), shape.frames * this.hop), -1, 1)
  }

  /** Most tensors of a graph. */
  get nodes(): number {
    const pairs = this.stages.reduce((sum, { blocks }) => sum + blocks.reduce((n, { pairs: { length } }) => n + length, 0), 0)
    return 180 * pairs + 60 * this.stages.length + 200
  }

  #amp(
    g: GraphBuilder,
    block: AmpBlock,
    input: Tensor<'f32'>,
    options: { from: Span; gives: Span; limits: Span; filters: SnakeFilters; workspace: ConvolutionWorkspace | undefined },
  ): Tensor<'f32'> {
    const { gives, limits, filters, workspace } = options
    let left = block.reach(SNAKE_REACH)
    let covered = within(widen(gives, left), limits)
    let x = crop(g, input, options.from, covered)
    for (const { act1, conv1, act2, conv2, reach } of block.pairs) {
      left -= reach + 2 * SNAKE_REACH
      const needed = within(widen(gives, left), limits)
      const inner = conv1.forward(g, act1.forward(g, g.cont(x), filters), workspace)
      const y = conv2.forward(g, act2.forward(g, g.cont(inner), filters), workspace)
      x = g.add(crop(g, y, covered, needed), crop(g, x, covered, needed))
      covered = needed
    }
    return x
  }

  /** From the requested samples back to the frames that they depend on. */
  #plan(shape: VocoderShape, snake = SNAKE_REACH): Plan {
    const stages: { reads: Span; upsampled: Span; gives: Span }[] = []
    let needed = within(
      widen({ from: 0, to: shape.frames * this.hop }, this.conv_post.reach + snake),
      limitsOf(shape, this.hop),
    )
    for (const { up, blocks, rate } of this.stages.toReversed()) {
      const gives = needed
      const reach = Math.max(...blocks.map((block) => block.reach(snake)))
      const upsampled = within(widen(gives, reach), limitsOf(shape, rate))
      const reads = within(
        {
          from: Math.ceil((upsampled.from + up.padding - up.kernel + 1) / up.stride),
          to: Math.floor((upsampled.to - 1 + up.padding) / up.stride) + 1,
        },
        limitsOf(shape, rate / up.stride),
      )
      stages.unshift({ reads, upsampled, gives })
      needed = reads
    }
    const mel = within(widen(needed, this.conv_pre.reach), limitsOf(shape, 1))
    return { mel, first: needed, stages }
  }

  /** Working memory that the convolutions share for their windows. Only the CPU supports it. */
  #workspace(g: GraphBuilder, plan: Plan): ConvolutionWorkspace | undefined {
    if (g.backend.kind !== 'cpu') return undefined
    let workspace = 0
    let zeros = 0
    const want = (convolution: SameConv1d, { from, to }: Span): void => {
      const sizes = convolution.workspaceFor(to - from)
      workspace = Math.max(workspace, sizes.workspace)
      zeros = Math.max(zeros, sizes.zeros)
    }
    want(this.conv_pre, plan.mel)
    for (const [i, { blocks }] of this.stages.entries()) {
      const span = plan.stages[i]?.upsampled
      if (!span) continue
      for (const { pairs } of blocks) {
        for (const { conv1, conv2 } of pairs) {
          want(conv1, span)
          want(conv2, span)
        }
      }
    }
    want(this.conv_post, plan.stages.at(-1)?.gives ?? plan.first)
    return { workspace: g.workspace(workspace), zeros: g.scale(g.arange(zeros), 0) }
  }
}

/** Converts a range of samples to another rate. */
function limitsOf({ frames, before, after }: VocoderShape, rate: number): Span {
  return { from: -before * rate, to: (frames + after) * rate }
}

function widen({ from, to }: Span, reach: number): Span {
  return { from: from - reach, to: to + reach }
}

function within(span: Span, limits: Span): Span {
  return { from: Math.max(span.from, limits.from), to: Math.min(span.to, limits.to) }
}

/** The part of x, which covers `from`, that covers `to`. */
function crop(g: GraphBuilder, x: Tensor<'f32'>, from: Span, to: Span): Tensor<'f32'> {
  return from.from === to.from && from.to === to.to ? x : g.slice(x, 1, to.from - from.from, to.to - to.from)
}
