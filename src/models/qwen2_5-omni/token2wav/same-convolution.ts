/**
 * Non-causal convolutions over time with zero padding, channels contiguous: x [channels, time].
 *
 * On the CPU, windows are read in place, from working memory that the convolutions of a graph share. Reference:
 * torch.nn.Conv1d with padding dilation * (kernel - 1) / 2; torch.nn.ConvTranspose1d with padding (kernel - stride) /
 * 2.
 */

import type { Parameters } from '../../../nn/index.ts'
import type { GraphBuilder, Tensor } from '../../../tensor/index.ts'

/** Working memory of a graph's convolutions, and zeros to fill its margins with. */
export interface ConvolutionWorkspace {
  readonly workspace: Tensor<'f32'>
  readonly zeros: Tensor<'f32'>
}

export class SameConv1d {
  readonly weight: Tensor
  readonly bias: Tensor<'f32'> | undefined
  /** Frames on each side that a result depends on. */
  readonly reach: number
  readonly #kernel: number
  readonly #dilation: number

  /** `kernel` is odd. */
  constructor(
    parameters: Parameters,
    inChannels: number,
    outChannels: number,
    options: { readonly kernel: number; readonly dilation?: number; readonly bias?: boolean },
  ) {
    this.#kernel = options.kernel
    this.#dilation = options.dilation ?? 1
    this.reach = (this.#dilation * (this.#kernel - 1)) / 2
    this.weight = parameters.get('weight', {
      shape: [inChannels * options.kernel, outChannels],
      use: 'matmul',
      layout: 'conv-windows',
      precision: 'fine',
    })
    this.bias = options.bias === false ? undefined : parameters.vector('bias', [outChannels])
  }

  /** Elements of working memory for `frames` frames, and of zeros. */
  workspaceFor(frames: number): { readonly workspace: number; readonly zeros: number } {
    const channels = this.weight.shape[0] / this.#kernel
    const { length, margin } = this.#phases(frames)
    // Windows overlap, but a view may not be larger than its tensor.
    const workspace = channels * this.#kernel * length * this.#dilation
    return { workspace, zeros: channels * (margin + 1) * this.#dilation }
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>, workspace?: ConvolutionWorkspace): Tensor<'f32'> {
    const y = workspace ? this.#inWorkspace(g, x, workspace) : this.#gathered(g, x)
    return this.bias ? g.add(y, this.bias) : y
  }

  #gathered(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    const edges: [number, number] = [this.reach, this.reach]
    const padded = g.pad(x, [[0, 0], edges])
    const windows = g.windows(padded, x.shape[1], { kernel: this.#kernel, dilation: this.#dilation })
    return g.mulMat(this.weight, windows)
  }

  /** Frames a dilation apart make a phase: frames per phase, rounded up, and those before and after them. */
  #phases(frames: number): { readonly length: number; readonly margin: number } {
    return { length: Math.ceil(frames / this.#dilation), margin: (this.#kernel - 1) / 2 }
  }

  /**
   * Arranges the frames by phase, so that a window is a run of frames, and the next window starts one frame later.
   */
  #inWorkspace(g: GraphBuilder, x: Tensor<'f32'>, { workspace, zeros }: ConvolutionWorkspace): Tensor<'f32'> {
    const [channels, frames] = x.shape
    const dilation = this.#dilation
    const { length, margin } = this.#phases(frames)
    const row = 4 * channels
    const phase = row * (length + 2 * margin)
    const lay = (from: Tensor<'f32'>, phases: number, count: number, to: number): void => {
      const place = g.view(workspace, [channels, count, phases], { strides: [row, phase], offset: to * row })
      g.effect(g.copyInto(from, place))
    }
    const clear = (count: number, to: number): void => {
      if (count > 0) lay(g.view(zeros, [channels, count, dilation]), dilation, count, to)
    }
    const whole = Math.floor(frames / dilation)
    clear(margin, 0)
    clear(length + margin - whole, margin + whole)
    /** `count` rounds of `phases` frames each, from frame `start`. */
    const rounds = (start: number, phases: number, count: number): Tensor<'f32'> => {
      const strides = [x.strides[1], phases * x.strides[1]]
      return g.permute(g.view(x, [channels, phases, count], { strides, offset: start * x.strides[1] }), 0, 2, 1, 3)
    }
    if (whole > 0) lay(rounds(0, dilation, whole), dilation, whole, margin)
    if (whole < length) lay(rounds(whole * dilation, frames - whole * dilation, 1), frames - whole * dilation, 1, margin + whole)
    const windows = g.view(workspace, [this.weight.shape[0], length, dilation], { strides: [row, phase] })
    const y = g.mulMat(this.weight, windows)
    // Must run before the next convolution uses the workspace.
    g.effect(y)
    if (dilation === 1) return y
    const out = this.weight.shape[1]
    const ordered = g.reshape(g.cont(g.permute(y, 0, 2, 1, 3)), out, length * dilation)
    return g.slice(ordered, 1, 0, frames)
  }
}

/** Transposed convolution: x [in, time] to [out, time * stride]. */
export class SameConvTranspose1d {
  readonly weight: Tensor
  readonly bias: Tensor<'f32'>
  readonly stride: number
  readonly padding: number
  readonly kernel: number
  readonly #out: number

  /** `kernel` is `stride` and an even number. */
  constructor(
    parameters: Parameters,
    inChannels: number,
    outChannels: number,
    options: { readonly kernel: number; readonly stride: number },
  ) {
    this.kernel = options.kernel
    this.stride = options.stride
    this.padding = (options.kernel - options.stride) / 2
    this.#out = outChannels
    this.weight = parameters.get('weight', {
      shape: [inChannels, outChannels * options.kernel],
      use: 'matmul',
      layout: 'conv-columns',
      precision: 'fine',
    })
    this.bias = parameters.vector('bias', [outChannels])
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>): Tensor<'f32'> {
    const time = x.shape[1]
    const { stride, kernel, padding } = this
    const out = this.#out
    const columns = g.mulMat(this.weight, g.cont(x)) // [out * kernel, time], out fastest
    // Frame t adds its j-th stride of columns to block t + j; the last stride may be short.
    const strides = Math.ceil(kernel / stride)
    let sum: Tensor<'f32'> | undefined
    for (let j = 0; j < strides; j++) {
      const taps = Math.min(stride, kernel - j * stride)
      const part = g.slice(columns, 0, j * stride * out, taps * out)
      const placed = g.pad(part, [
        [0, (stride - taps) * out],
        [j, strides - 1 - j],
      ])
      sum = sum ? g.add(sum, placed) : placed
    }
    const all = g.reshape(g.cont(sum ?? columns), out, (time + strides - 1) * stride)
    return g.add(g.slice(all, 1, padding, time * stride), this.bias)
  }
}
