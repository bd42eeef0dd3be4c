/**
 * Convolutions over time, channels contiguous: x [channels, time].
 *
 * Causal ones look back only. For streaming, each takes the frames before x as `history` (default: zeros) and says how
 * many it needs (`context`), so that pieces joined equal the whole. Windows are gathered by frame numbers and
 * multiplied as one matrix; where a product's kernel may read overlapping rows (the CPU's), they are not gathered.
 *
 * Reference: transformers `Qwen3OmniMoeCausalConvNet`, `Qwen3OmniMoeCausalTransConvNet`; torch.nn.Conv2d.
 */

import { TensorError, outputLength, type GraphBuilder, type Tensor } from '../tensor/index.ts'
import type { ParameterPrecision, Parameters } from './parameters.ts'

export interface ConvolutionOptions {
  readonly kernel: number
  readonly stride?: number
  readonly dilation?: number
  /** Default true. */
  readonly bias?: boolean
  readonly precision?: ParameterPrecision
}

/** Puts `context` frames before x: the history's last ones, or zeros. */
export function prepend(g: GraphBuilder, x: Tensor<'f32'>, context: number, history?: Tensor<'f32'>): Tensor<'f32'> {
  if (context === 0) return x
  if (!history)
    return g.pad(x, [
      [0, 0],
      [context, 0],
    ])
  if (history.shape[1] < context)
    throw new TensorError(`the history has ${history.shape[1]} frames, ${context} are needed`)
  return g.concat(g.slice(history, 1, history.shape[1] - context, context), x, 1)
}

/** Elements per vector step of a product of f32 rows. The remainder of a row is computed one by one, much slower. */
const STEP = 64
/** The same for rows that follow each other without a gap. */
const DENSE_STEP = 16
/** Most frames that {@link CausalConv1d} computes as one. */
const MOST_FOLDED = 2

/** Conv1d with padding on the left only. x: [in, time] to [out, time / stride]. */
export class CausalConv1d {
  readonly weight: Tensor
  readonly bias: Tensor<'f32'> | undefined
  /** Frames before x that the first output depends on. */
  readonly context: number
  readonly #kernel: number
  readonly #stride: number
  readonly #dilation: number

  constructor(parameters: Parameters, inChannels: number, outChannels: number, options: ConvolutionOptions) {
    this.#kernel = options.kernel
    this.#stride = options.stride ?? 1
    this.#dilation = options.dilation ?? 1
    this.context = (this.#kernel - 1) * this.#dilation + 1 - this.#stride
    this.weight = parameters.get('weight', {
      shape: [inChannels * options.kernel, outChannels],
      use: 'matmul',
      layout: 'conv-windows',
      precision: options.precision ?? 'fine',
    })
    this.bias = options.bias === false ? undefined : parameters.vector('bias', [outChannels])
  }

  /**
   * Elements of working memory with which {@link forward} need not gather windows of `frames` frames; 0 when it gathers
   * none.
   */
  workspaceFor(frames: number): number {
    const channels = this.weight.shape[0] / this.#kernel
    return this.context === 0 || this.#stride > 1
      ? 0
      : channels * this.#kernel * this.#phases(frames).frames * this.#dilation
  }

  /** Frames computed as one, so that rows are whole steps of the product: narrow f32 weights only. */
  #folded(g: GraphBuilder, step: number): number {
    if (g.backend.kind !== 'cpu' || this.weight.type !== 'f32') return 1
    const channels = this.weight.shape[0] / this.#kernel
    for (let fold = 1; fold <= MOST_FOLDED; fold++) if (((this.#kernel - 1 + fold) * channels) % step === 0) return fold
    return 1
  }

  /**
   * Weights of `fold` frames side by side, each with zeros for the frames that it does not see: [in * (kernel + fold -
   * 1), out * fold].
   */
  #foldedWeight(g: GraphBuilder, fold: number): Tensor {
    if (fold === 1) return this.weight
    const channels = this.weight.shape[0] / this.#kernel
    const weight = this.weight as Tensor<'f32'>
    let all: Tensor<'f32'> | undefined
    for (let frame = 0; frame < fold; frame++) {
      const one = g.pad(weight, [[frame * channels, (fold - 1 - frame) * channels]])
      all = all ? g.concat(all, one, 1) : one
    }
    return all ?? this.weight
  }

  /** `workspace`: at least {@link workspaceFor} elements, which several convolutions may share one after the other. */
  forward(g: GraphBuilder, x: Tensor<'f32'>, history?: Tensor<'f32'>, workspace?: Tensor<'f32'>): Tensor<'f32'> {
    const needed = this.workspaceFor(x.shape[1])
    if (history && workspace && needed > 0 && workspace.shape[0] >= needed)
      return this.#overlapping(g, x, history, workspace)
    if (x.shape[1] % this.#stride !== 0) {
      throw new TensorError(
        `a convolution of stride ${this.#stride} needs a multiple of it in frames, got ${x.shape[1]}`,
      )
    }
    const frames = x.shape[1] / this.#stride
    const extended = g.cont(prepend(g, x, this.context, history))
    if (this.#kernel === 1 && this.#stride === 1) {
      const fold = this.#folded(g, DENSE_STEP)
      const out = this.weight.shape[1]
      if (fold > 1 && frames % fold === 0) {
        const together = g.reshape(extended, extended.shape[0] * fold, frames / fold)
        const y = g.reshape(g.mulMat(this.#foldedWeight(g, fold), together), out, frames)
        return this.bias ? g.add(y, this.bias) : y
      }
    }
    const windows =
      this.#kernel === 1 && this.#stride === 1
        ? extended
        : g.windows(extended, frames, { kernel: this.#kernel, stride: this.#stride, dilation: this.#dilation })
    const y = g.mulMat(this.weight, windows)
    return this.bias ? g.add(y, this.bias) : y
  }

  /**
   * Frames a dilation apart follow each other in a phase: frames per phase, rounded up, and those of the history
   * before them.
   */
  #phases(frames: number, fold = MOST_FOLDED): { frames: number; before: number } {
    return { frames: fold * Math.ceil(frames / this.#dilation / fold), before: this.#kernel - 1 }
  }

  /**
   * Lays the frames out in `workspace` phase by phase, so that a window is a run of frames and the next one begins a
   * frame later.
   */
  #overlapping(g: GraphBuilder, x: Tensor<'f32'>, history: Tensor<'f32'>, workspace: Tensor<'f32'>): Tensor<'f32'> {
    const [channels, frames] = x.shape
    const dilation = this.#dilation
    const fold = this.#folded(g, STEP)
    const { frames: length, before } = this.#phases(frames, fold)
    const row = 4 * channels
    const phase = row * (before + length)
    /** Puts `count` rounds of `phases` frames each at row `to` of the phases. */
    const lay = (from: Tensor<'f32'>, start: number, phases: number, count: number, to: number): void => {
      const strides = [from.strides[1], phases * from.strides[1]]
      const rounds = g.view(from, [channels, phases, count], { strides, offset: start * from.strides[1] })
      const place = g.view(workspace, [channels, count, phases], { strides: [row, phase], offset: to * row })
      g.effect(g.copyInto(g.permute(rounds, 0, 2, 1, 3), place))
    }
    const whole = Math.floor(frames / dilation)
    lay(history, history.shape[1] - this.context, dilation, before, 0)
    if (whole > 0) lay(x, 0, dilation, whole, before)
    // What is left does not reach the last phases; their last windows hold anything, and are cut off below.
    const left = frames - whole * dilation
    // With frames folded, whatever stands after a frame is multiplied by zero, so it has to be a number.
    if (fold > 1 && whole < length)
      lay(history, history.shape[1] - this.context, dilation, length - whole, before + whole)
    if (left > 0) lay(x, whole * dilation, left, 1, before + whole)
    const windows = g.view(workspace, [(before + fold) * channels, length / fold, dilation], {
      strides: [fold * row, phase],
    })
    const out = this.weight.shape[1]
    const product = g.mulMat(this.#foldedWeight(g, fold), windows)
    // Must run before the next convolution uses the workspace.
    g.effect(product)
    const y = g.reshape(product, out, length, dilation)
    const ordered = dilation === 1 ? y : g.cont(g.permute(y, 0, 2, 1, 3))
    const result = g.slice(g.reshape(ordered, out, length * dilation), 1, 0, frames)
    return this.bias ? g.add(result, this.bias) : result
  }
}

/**
 * ConvTranspose1d whose first and last `kernel - stride` samples are cut off: x [in, time] to [out, time * stride -
 * (kernel - stride)]. The kernel is a multiple of the stride. With a history of `context` frames, nothing is cut on the
 * left: x then yields time * stride samples.
 */
export class CausalConvTranspose1d {
  readonly weight: Tensor
  readonly bias: Tensor<'f32'>
  /** Frames before x that its first sample depends on. */
  readonly context: number
  readonly stride: number
  readonly #out: number
  readonly #overlap: number

  constructor(
    parameters: Parameters,
    inChannels: number,
    outChannels: number,
    options: { readonly kernel: number; readonly stride: number; readonly precision?: ParameterPrecision },
  ) {
    const { kernel, stride } = options
    if (kernel % stride !== 0)
      throw new TensorError(`transposed convolution: kernel ${kernel} is no multiple of stride ${stride}`)
    this.stride = stride
    this.#out = outChannels
    this.#overlap = kernel / stride
    this.context = this.#overlap - 1
    this.weight = parameters.get('weight', {
      shape: [inChannels, outChannels * kernel],
      use: 'matmul',
      layout: 'conv-columns',
      precision: options.precision ?? 'fine',
    })
    this.bias = parameters.vector('bias', [outChannels])
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>, history?: Tensor<'f32'>): Tensor<'f32'> {
    const input = history && this.context > 0 ? prepend(g, x, this.context, history) : x
    const blocks = input.shape[1] - this.context
    if (blocks < 1)
      throw new TensorError(`a transposed convolution needs more than ${this.context} frames, got ${input.shape[1]}`)
    const out = this.#out
    // [out, kernel, frames]: frame t adds its j-th stride of columns to block t + j.
    const columns = g.mulMat(this.weight, g.cont(input))
    let sum: Tensor<'f32'> | undefined
    for (let j = 0; j < this.#overlap; j++) {
      const part = g.view(columns, [out * this.stride, blocks], {
        strides: [columns.strides[1]],
        offset: (this.context - j) * columns.strides[1] + j * this.stride * out * 4,
      })
      sum = sum ? g.add(sum, part) : part
    }
    if (!sum) throw new TensorError('a transposed convolution without kernel')
    return g.add(g.reshape(g.cont(sum), out, blocks * this.stride), this.bias)
  }
}

/** Depthwise Conv1d with padding on the left only. x: [channels, time] to the same. */
export class DepthwiseCausalConv1d {
  readonly weight: Tensor<'f32'>
  readonly bias: Tensor<'f32'>
  readonly context: number

  constructor(parameters: Parameters, channels: number, kernel: number) {
    this.context = kernel - 1
    this.weight = parameters.vector('weight', [kernel, 1, channels])
    this.bias = parameters.vector('bias', [channels])
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>, history?: Tensor<'f32'>): Tensor<'f32'> {
    const extended = prepend(g, x, this.context, history)
    const kernel = g.reshape(this.weight, this.weight.shape[0], x.shape[0])
    return g.add(g.depthwiseCausal(g.cont(g.transpose(extended)), kernel), this.bias)
  }
}

/** Conv2d. x: [width, height, in, batch] to [out, width', height', batch]: channels come out contiguous. */
export class Conv2d {
  readonly weight: Tensor
  readonly bias: Tensor<'f32'> | undefined
  readonly #kernel: readonly [number, number]
  readonly #stride: readonly [number, number]
  readonly #padding: readonly [number, number]

  /** Pairs are [width, height]. */
  constructor(
    parameters: Parameters,
    inChannels: number,
    outChannels: number,
    options: {
      readonly kernel: readonly [number, number]
      readonly stride?: readonly [number, number]
      readonly padding?: readonly [number, number]
      /** Default true. */
      readonly bias?: boolean
      readonly precision?: ParameterPrecision
    },
  ) {
    this.#kernel = options.kernel
    this.#stride = options.stride ?? [1, 1]
    this.#padding = options.padding ?? [0, 0]
    this.weight = parameters.get('weight', {
      shape: [this.#kernel[0] * this.#kernel[1] * inChannels, outChannels],
      use: 'matmul',
      layout: 'conv-flat',
      precision: options.precision ?? 'fine',
    })
    this.bias = options.bias === false ? undefined : parameters.vector('bias', [outChannels])
  }

  /** [width', height'] for an input of [width, height]. */
  outputSize(width: number, height: number): [number, number] {
    return [
      outputLength(width, this.#kernel[0], this.#stride[0], this.#padding[0], 1),
      outputLength(height, this.#kernel[1], this.#stride[1], this.#padding[1], 1),
    ]
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    const windows = g.im2col(x, this.#kernel, { stride: this.#stride, padding: this.#padding })
    const y = g.mulMat(this.weight, windows)
    return this.bias ? g.add(y, this.bias) : y
  }
}
