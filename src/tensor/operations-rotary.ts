/**
 * Graph operations that apply rotary position embeddings.
 *
 * In: x [head, heads, tokens] and integer positions. Out: a tensor of the same shape. Reference: `ggml_rope_ext`,
 * `ggml_rope_multi`.
 */

import { ConvolutionOperations } from './operations-convolution.ts'
import { hasContiguousRows, type Tensor } from './tensor.ts'

export interface RotaryOptions {
  /** Number of leading dimensions to rotate; the others are copied. Default: the whole head. */
  readonly dimensions?: number
  readonly base: number
  /**
   * `neox` pairs i with i + dimensions/2 (transformers' rotate_half); `interleaved` pairs 2i with 2i+1. Default `neox`.
   */
  readonly style?: 'neox' | 'interleaved'
  /** Divisors of the frequencies, [dimensions/2]. */
  readonly frequencyFactors?: Tensor<'f32'>
}

export interface MultimodalRotaryOptions {
  readonly dimensions?: number
  readonly base: number
  /** Numbers of frequencies for the temporal, height and width positions (`mrope_section`). */
  readonly sections: readonly [number, number, number]
  /** Sections interleaved as THWTHW... (Qwen3-Omni) instead of TTTHHHWWW (Qwen2.5-Omni). */
  readonly interleaved: boolean
  /** Positions are in units of 1 / positionSteps, a power of two. Default 1. */
  readonly positionSteps?: number
}

/** Values of `enum ggml_rope_type`. */
const ROPE_NEOX = 2
const ROPE_MROPE = 8
const ROPE_VISION = 24
const ROPE_IMROPE = 40

/** `n_ctx_orig`: ggml reads it only for YaRN scaling, which is not used. */
const ORIGINAL_CONTEXT = 32768

export abstract class RotaryOperations extends ConvolutionOperations {
  /** One position per token: positions i32 [tokens]. */
  rotary(x: Tensor<'f32'>, positions: Tensor<'i32'>, options: RotaryOptions): Tensor<'f32'> {
    const dimensions = this.#checkRotary('rotary', x, positions, 1, options.dimensions)
    const factors = options.frequencyFactors
    if (factors && factors.shape[0] < dimensions / 2) this.fail('rotary', 'too few frequency factors', x, factors)
    const mode = options.style === 'interleaved' ? 0 : ROPE_NEOX
    const handle = this.native.rope_ext(
      this.context,
      x.handle,
      positions.handle,
      factors?.handle ?? null,
      dimensions,
      mode,
      ORIGINAL_CONTEXT,
      options.base,
      1,
      0,
      1,
      32,
      1,
    )
    return this.made(handle, 'f32', x.shape)
  }

  /**
   * Multimodal positions (M-RoPE), rotate_half style: positions i32 [4 * tokens], temporal, height, width, and temporal
   * again. ggml assigns frequencies outside the interleaved sections to a fourth axis, transformers to the temporal
   * one.
   */
  multimodalRotary(x: Tensor<'f32'>, positions: Tensor<'i32'>, options: MultimodalRotaryOptions): Tensor<'f32'> {
    const dimensions = this.#checkRotary('multimodalRotary', x, positions, 4, options.dimensions)
    const [t, h, w] = options.sections
    const rest = dimensions / 2 - t - h - w
    // Only consecutive sections must fill the head exactly.
    if (rest !== 0 && !options.interleaved) {
      this.fail('multimodalRotary', `sections ${t}, ${h}, ${w} do not sum to half of ${dimensions}`, x)
    }
    const handle = this.native.rope_multi(
      this.context,
      x.handle,
      positions.handle,
      null,
      dimensions,
      new Int32Array([t, h, w, Math.max(0, rest)]),
      options.interleaved ? ROPE_IMROPE : ROPE_MROPE,
      ORIGINAL_CONTEXT,
      options.base,
      1 / (options.positionSteps ?? 1),
      0,
      1,
      32,
      1,
    )
    return this.made(handle, 'f32', x.shape)
  }

  /**
   * Positions of image patches: x [head, heads, patches], positions i32 [4 * patches]: rows, columns, rows, columns.
   * The first half of the dimensions is rotated by the row, the second half with the same frequencies by the column.
   */
  visionRotary(x: Tensor<'f32'>, positions: Tensor<'i32'>, base: number): Tensor<'f32'> {
    this.#checkRotary('visionRotary', x, positions, 4)
    const quarter = x.shape[0] / 4
    if (!Number.isInteger(quarter)) this.fail('visionRotary', 'the head size is not a multiple of 4', x)
    const sections = new Int32Array([quarter, quarter, quarter, quarter])
    const handle = this.native.rope_multi(
      this.context,
      x.handle,
      positions.handle,
      null,
      x.shape[0] / 2,
      sections,
      ROPE_VISION,
      ORIGINAL_CONTEXT,
      base,
      1,
      0,
      1,
      32,
      1,
    )
    return this.made(handle, 'f32', x.shape)
  }

  #checkRotary(
    operation: string,
    x: Tensor<'f32'>,
    positions: Tensor<'i32'>,
    axes: number,
    dimensions = x.shape[0],
  ): number {
    this.readable(operation, x, positions)
    if (positions.type !== 'i32' || positions.shape[0] !== x.shape[2] * axes || positions.shape[1] !== 1) {
      this.fail(operation, `needs i32 positions [${x.shape[2] * axes}] for ${x.shape[2]} tokens`, x, positions)
    }
    if (dimensions % 2 !== 0 || dimensions > x.shape[0])
      this.fail(operation, `cannot rotate ${dimensions} dimensions`, x)
    if (!hasContiguousRows(x)) this.fail(operation, 'rows are not contiguous', x)
    return dimensions
  }
}
