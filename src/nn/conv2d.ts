/**
 * Convolution over images and spectrograms. Reference: torch.nn.Conv2d.
 */

import { outputLength, type GraphBuilder, type Tensor } from '../tensor/index.ts'
import type { ParameterPrecision, Parameters } from './parameters.ts'

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
