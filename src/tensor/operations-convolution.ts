/**
 * Graph operations of convolutions: windows gathered as matrices, transposed and depthwise convolutions.
 *
 * Dimensions are in ggml order (contiguous first). Every operation checks shapes and types and throws
 * {@link TensorError}.
 */

import { MatrixOperations } from './operations-matrix.ts'
import { newTensor } from './tensor-buffer.ts'
import { isContiguous, type Tensor } from './tensor.ts'
import { tensorTypes } from './types.ts'

export abstract class ConvolutionOperations extends MatrixOperations {
  /**
   * Gathers convolution windows of x [width, height, channels, batch] for a kernel of [kw, kh]: to [kw * kh * channels,
   * out width, out height, batch]. Within a window kw is contiguous, then kh, then channels.
   */
  im2col(
    x: Tensor<'f32'>,
    kernel: readonly [number, number],
    options: {
      stride?: readonly [number, number]
      padding?: readonly [number, number]
      dilation?: readonly [number, number]
    } = {},
  ): Tensor<'f32'> {
    const [s0, s1] = options.stride ?? [1, 1]
    const [p0, p1] = options.padding ?? [0, 0]
    const [d0, d1] = options.dilation ?? [1, 1]
    const [kw, kh] = kernel
    this.readable('im2col', x)
    this.reserve('im2col')
    if (!isContiguous(x)) this.fail('im2col', 'x is not contiguous', x)
    const width = outputLength(x.shape[0], kw, s0, p0, d0)
    const height = outputLength(x.shape[1], kh, s1, p1, d1)
    if (width < 1 || height < 1) this.fail('im2col', `the kernel [${kw}, ${kh}] is larger than the padded input`, x)
    // The library takes the kernel's shape from a tensor and does not read its data.
    const shape = newTensor(this.backend, this.context, 'kernel shape', 'f16', [kw, kh, x.shape[2], 1])
    const handle = this.native.im2col(
      this.context,
      shape.handle,
      x.handle,
      s0,
      s1,
      p0,
      p1,
      d0,
      d1,
      true,
      tensorTypes.f32.id,
    )
    return this.made(handle, 'f32', [kw * kh * x.shape[2], width, height, x.shape[3]])
  }

  /**
   * Gathers windows over time, channels contiguous: x [channels, time] to [channels * kernel, frames]. Column t holds
   * the frames of x at t * stride, t * stride + dilation, ... in this order.
   */
  windows(
    x: Tensor<'f32'>,
    frames: number,
    options: { kernel: number; stride?: number; dilation?: number },
  ): Tensor<'f32'> {
    const { kernel, stride = 1, dilation = 1 } = options
    const [channels, time] = x.shape
    if ((frames - 1) * stride + (kernel - 1) * dilation >= time || x.shape[2] !== 1 || x.shape[3] !== 1) {
      this.fail(
        'windows',
        `${frames} windows of ${kernel} frames, stride ${stride}, dilation ${dilation}, exceed the time of x`,
        x,
      )
    }
    const starts = this.arange(frames, stride)
    const offsets = this.arange(kernel, dilation)
    const rows = this.add(this.repeat(this.reshape(starts, 1, frames), kernel, frames), offsets)
    const ids = this.reshape(this.cast(rows, 'i32'), kernel * frames)
    return this.reshape(this.getRows(x, ids), channels * kernel, frames)
  }

  /** 0, step, 2 step, ...: [count]. Exact for integers below 2^24. */
  arange(count: number, step = 1): Tensor<'f32'> {
    this.reserve('arange')
    if (!Number.isInteger(count) || count < 1 || Math.abs(count * step) >= 2 ** 24)
      this.fail('arange', `needs a positive count and values below 2^24, got ${count} steps of ${step}`)
    return this.made(this.native.arange(this.context, 0, count * step, step), 'f32', [count, 1, 1, 1])
  }

  /**
   * Scatter-adds transposed-convolution columns: [kernel * channels, tokens] (kernel contiguous) to
   * [(tokens - 1) * stride + kernel - 2 * padding, channels]. Time is contiguous in the result.
   */
  col2im1d(columns: Tensor<'f32'>, stride: number, channels: number, padding = 0): Tensor<'f32'> {
    this.readable('col2im1d', columns)
    if (columns.shape[0] % channels !== 0)
      this.fail('col2im1d', `the row length is not a multiple of ${channels} channels`, columns)
    if (!isContiguous(columns)) this.fail('col2im1d', 'the columns are not contiguous', columns)
    const kernel = columns.shape[0] / channels
    const length = (columns.shape[1] - 1) * stride + kernel - 2 * padding
    if (length < 1) this.fail('col2im1d', `padding ${padding} leaves no output`, columns)
    return this.made(this.native.col2im_1d(this.context, columns.handle, stride, channels, padding), 'f32', [
      length,
      channels,
      1,
      1,
    ])
  }

  /**
   * Causal depthwise convolution: x [taps - 1 + tokens, channels, batch] (time contiguous), kernel [taps, channels] to
   * [channels, tokens, batch].
   */
  depthwiseCausal(x: Tensor<'f32'>, kernel: Tensor<'f32'>): Tensor<'f32'> {
    this.readable('depthwiseCausal', x, kernel)
    const tokens = x.shape[0] - kernel.shape[0] + 1
    if (x.shape[1] !== kernel.shape[1] || tokens < 1 || x.shape[3] !== 1)
      this.fail('depthwiseCausal', 'shapes do not match', x, kernel)
    if (!isContiguous(x) || !isContiguous(kernel)) this.fail('depthwiseCausal', 'needs contiguous tensors', x, kernel)
    return this.made(this.native.ssm_conv(this.context, x.handle, kernel.handle), 'f32', [
      x.shape[1],
      tokens,
      x.shape[2],
      1,
    ])
  }

  /**
   * Depthwise convolution over time, channels contiguous: x [channels, time], kernel [channels, taps] to
   * [channels, (time - taps) / stride + 1]; row t is the sum of kernel[k] * x[t * stride + k]. At least three channels.
   */
  depthwise(x: Tensor<'f32'>, kernel: Tensor<'f32'>, stride = 1): Tensor<'f32'> {
    this.readable('depthwise', x, kernel)
    const [channels, time] = x.shape
    const taps = kernel.shape[1]
    if (kernel.shape[0] !== channels || time < taps) this.fail('depthwise', 'shapes do not match', x, kernel)
    if (channels < 3 || taps < 2) this.fail('depthwise', 'needs at least three channels and two taps', x, kernel)
    if (!isContiguous(x) || !isContiguous(kernel)) this.fail('depthwise', 'needs contiguous tensors', x, kernel)
    // The library detects channels-first data by its strides: channels < width < height, also where the width is 1.
    const image = this.permute(this.view(x, [channels, 1, time], { strides: [8, 4 * channels] }), 2, 0, 1, 3)
    const filter = this.permute(this.view(kernel, [channels, 1, taps], { strides: [8, 4 * channels, 8] }), 3, 0, 1, 2)
    this.reserve('depthwise')
    const handle = this.native.conv_2d_dw_direct(this.context, filter.handle, image.handle, 1, stride, 0, 0, 1, 1)
    const length = Math.floor((time - taps) / stride) + 1
    const row = 4 * channels
    const result = this.made(handle, 'f32', [1, length, channels, 1], [row, row, 4, row * length])
    return this.reshape(this.permute(result, 1, 2, 0, 3), channels, length)
  }
}

/** Output length of a convolution along one dimension; below 1 where the kernel does not fit. */
export function outputLength(input: number, kernel: number, stride: number, padding: number, dilation: number): number {
  return Math.floor((input + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1
}
