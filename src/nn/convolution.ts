/**
 * Convolutions over time, channels contiguous: x [channels, time].
 *
 * All are causal. For streaming, each takes the frames before x as `history` (default: zeros), at least `context` of
 * them; then the outputs of consecutive pieces equal the output of the whole. Windows are gathered by frame index and
 * multiplied as one matrix. On the CPU they can overlap in memory instead of being gathered.
 *
 * Reference: transformers `Qwen3OmniMoeCausalConvNet`, `Qwen3OmniMoeCausalTransConvNet`.
 */

import { TensorError, type GraphBuilder, type Tensor } from '../tensor/index.ts'
import type { ParameterPrecision, Parameters } from './parameters.ts'

export interface ConvolutionOptions {
  readonly kernel: number
  readonly stride?: number
  readonly dilation?: number
  /** Default true. */
  readonly bias?: boolean
  readonly precision?: ParameterPrecision
}

/**
 * Prepends `context` frames to x: the last ones of the history, or zeros. Throws {@link TensorError} when the history
 * is too short.
 */
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

/** Elements per vector step of a product of f32 rows; the remainder of a row is computed by slow scalar code. */
const STEP = 64
/** The same for contiguous rows. */
const CONTIGUOUS_STEP = 16
/** Maximum number of consecutive frames that {@link CausalConv1d} folds into one row. */
const MAX_FOLD = 2

/** Conv1d with padding on the left only. x: [in, time] to [out, time / stride]. */
export class CausalConv1d {
  readonly weight: Tensor
  readonly bias: Tensor<'f32'> | undefined
  /** Number of frames before x that the first output depends on. */
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
   * Elements of a workspace with which {@link forward} does not gather windows, for an input of `frames` frames; 0 when
   * no workspace is needed.
   */
  workspaceFor(frames: number): number {
    const channels = this.weight.shape[0] / this.#kernel
    return this.context === 0 || this.#stride > 1
      ? 0
      : channels * this.#kernel * this.#phases(frames).frames * this.#dilation
  }

  /** Number of frames to fold into one row, so that it is a multiple of `step`: for narrow f32 weights on the CPU. */
  #foldFor(g: GraphBuilder, step: number): number {
    if (g.backend.kind !== 'cpu' || this.weight.type !== 'f32') return 1
    const channels = this.weight.shape[0] / this.#kernel
    for (let fold = 1; fold <= MAX_FOLD; fold++) if (((this.#kernel - 1 + fold) * channels) % step === 0) return fold
    return 1
  }

  /**
   * Weights for `fold` frames in one row, with zeros for frames outside each kernel: [in * (kernel + fold - 1), out *
   * fold].
   */
  #foldedWeight(g: GraphBuilder, fold: number): Tensor {
    if (fold === 1) return this.weight
    const channels = this.weight.shape[0] / this.#kernel
    const weight = this.weight as Tensor<'f32'>
    let folded: Tensor<'f32'> | undefined
    for (let frame = 0; frame < fold; frame++) {
      const shifted = g.pad(weight, [[frame * channels, (fold - 1 - frame) * channels]])
      folded = folded ? g.concat(folded, shifted, 1) : shifted
    }
    return folded ?? this.weight
  }

  /**
   * x: [in, time], a multiple of the stride; `history`: [in, context or more]. `workspace` has at least
   * {@link workspaceFor} elements; several convolutions can share it. Throws {@link TensorError} for wrong shapes.
   */
  forward(g: GraphBuilder, x: Tensor<'f32'>, history?: Tensor<'f32'>, workspace?: Tensor<'f32'>): Tensor<'f32'> {
    const needed = this.workspaceFor(x.shape[1])
    if (history && workspace && needed > 0 && workspace.shape[0] >= needed)
      return this.#overlapping(g, x, history, workspace)
    if (x.shape[1] % this.#stride !== 0) {
      throw new TensorError(
        `a convolution of stride ${this.#stride} needs a multiple of ${this.#stride} frames, got ${x.shape[1]}`,
      )
    }
    const frames = x.shape[1] / this.#stride
    const extended = g.cont(prepend(g, x, this.context, history))
    if (this.#kernel === 1 && this.#stride === 1) {
      const fold = this.#foldFor(g, CONTIGUOUS_STEP)
      const out = this.weight.shape[1]
      if (fold > 1 && frames % fold === 0) {
        const rows = g.reshape(extended, extended.shape[0] * fold, frames / fold)
        const y = g.reshape(g.mulMat(this.#foldedWeight(g, fold), rows), out, frames)
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
   * Frames at a distance of the dilation form a phase. Returns the number of frames per phase, rounded up, and the
   * number of history frames before them.
   */
  #phases(frames: number, fold = MAX_FOLD): { frames: number; before: number } {
    return { frames: fold * Math.ceil(frames / this.#dilation / fold), before: this.#kernel - 1 }
  }

  /**
   * Copies the frames to `workspace` phase by phase: a window is then a contiguous range, and the next window starts
   * one frame later.
   */
  #overlapping(g: GraphBuilder, x: Tensor<'f32'>, history: Tensor<'f32'>, workspace: Tensor<'f32'>): Tensor<'f32'> {
    const [channels, frames] = x.shape
    const dilation = this.#dilation
    const fold = this.#foldFor(g, STEP)
    const { frames: length, before } = this.#phases(frames, fold)
    const row = 4 * channels
    const phase = row * (before + length)
    /** Copies `count` rounds of one frame for each of `phases` phases, to row `to` of the phases. */
    const copyRounds = (from: Tensor<'f32'>, start: number, phases: number, count: number, to: number): void => {
      const strides = [from.strides[1], phases * from.strides[1]]
      const rounds = g.view(from, [channels, phases, count], { strides, offset: start * from.strides[1] })
      const target = g.view(workspace, [channels, count, phases], { strides: [row, phase], offset: to * row })
      g.effect(g.copyInto(g.permute(rounds, 0, 2, 1, 3), target))
    }
    const whole = Math.floor(frames / dilation)
    copyRounds(history, history.shape[1] - this.context, dilation, before, 0)
    if (whole > 0) copyRounds(x, 0, dilation, whole, before)
    // Remaining frames do not reach the last phases, whose last windows are arbitrary and sliced off below.
    const remaining = frames - whole * dilation
    // With folding, memory after a frame is multiplied by zero, so it must contain finite numbers.
    if (fold > 1 && whole < length)
      copyRounds(history, history.shape[1] - this.context, dilation, length - whole, before + whole)
    if (remaining > 0) copyRounds(x, whole * dilation, remaining, 1, before + whole)
    const windows = g.view(workspace, [(before + fold) * channels, length / fold, dilation], {
      strides: [fold * row, phase],
    })
    const out = this.weight.shape[1]
    const product = g.mulMat(this.#foldedWeight(g, fold), windows)
    // Runs before the next convolution writes to the workspace.
    g.effect(product)
    const y = g.reshape(product, out, length, dilation)
    const ordered = dilation === 1 ? y : g.cont(g.permute(y, 0, 2, 1, 3))
    const result = g.slice(g.reshape(ordered, out, length * dilation), 1, 0, frames)
    return this.bias ? g.add(result, this.bias) : result
  }
}

/**
 * ConvTranspose1d without the first and last `kernel - stride` samples: x [in, time] to [out, time * stride - (kernel -
 * stride)]. The kernel is a multiple of the stride. With a history of `context` frames, only the end is cut: x yields
 * time * stride samples.
 */
export class CausalConvTranspose1d {
  readonly weight: Tensor
  readonly bias: Tensor<'f32'>
  /** Number of frames before x that its first sample depends on. */
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
      throw new TensorError(`transposed convolution: kernel ${kernel} is not a multiple of stride ${stride}`)
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
    if (!sum) throw new TensorError('a transposed convolution needs a kernel of at least its stride')
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
