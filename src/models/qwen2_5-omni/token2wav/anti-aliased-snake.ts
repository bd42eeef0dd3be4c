/**
 * SnakeBeta between two filters: upsampling by two, the activation, downsampling by two. This prevents aliasing of
 * frequencies that the activation adds.
 *
 * x: [channels, time] to the same shape, with repeated edges. Reference: transformers
 * `Qwen2_5OmniAntiAliasedActivation1d`.
 */

import { SnakeBeta, type Parameters } from '../../../nn/index.ts'
import type { GraphBuilder, InputData, Tensor } from '../../../tensor/index.ts'

/**
 * Samples on each side that a result depends on, and those with a significant weight: the ends of the filters are
 * small.
 */
export const SNAKE_REACH = 5
export const SNAKE_CORE = 1

/** Half of a symmetric low-pass filter of 12 taps: a sinc of a quarter of the rate in a Kaiser window, sum 1. */
const HALF_FILTER = [0.002028965, 0.009389466, -0.025543459, -0.057657383, 0.128572583, 0.443209797]
const FILTER = [...HALF_FILTER, ...HALF_FILTER.toReversed()]

/** Filter kernels that all activations of a graph share: see {@link snakeFilters}. */
export interface SnakeFilters {
  /** [1, 2, 7]: of a pair of new samples, each one's taps. */
  readonly up: Tensor<'f32'>
  /** [1, 12] */
  readonly down: Tensor<'f32'>
}

/** Declares the filters, once per graph; give it {@link snakeFilterInputs}. */
export function snakeFilters(g: GraphBuilder): SnakeFilters {
  return { up: g.input('filter.up', 'f32', [1, 2, 7]), down: g.input('filter.down', 'f32', [1, 12]) }
}

/**
 * Sample 2t is the sum of x[t - 3 + k] * 2 f[11 - 2k], sample 2t + 1 that of x[t - 2 + k] * 2 f[10 - 2k], k below 6:
 * both read x[t - 3] to x[t + 3].
 */
export const snakeFilterInputs: Readonly<Record<string, InputData>> = {
  'filter.up': Float32Array.from({ length: 14 }, (_, i) => {
    const k = Math.floor(i / 2)
    const tap = i % 2 === 0 ? 11 - 2 * k : 12 - 2 * k
    return 2 * (FILTER[tap] ?? 0)
  }),
  'filter.down': Float32Array.from(FILTER),
}

export class AntiAliasedSnake {
  readonly act: SnakeBeta
  readonly #channels: number

  constructor(parameters: Parameters, channels: number) {
    this.act = new SnakeBeta(parameters.scope('act'), channels)
    this.#channels = channels
  }

  forward(g: GraphBuilder, x: Tensor<'f32'>, filters: SnakeFilters): Tensor<'f32'> {
    const channels = this.#channels
    const time = x.shape[1]
    // Each frame is used twice: two channels of one kernel compute the two new samples.
    const pairs = g.reshape(g.getRows(x, repeatedEdges(g, time, 3, 2)), 2 * channels, time + 6)
    const up = g.reshape(g.repeat(filters.up, channels, 2, 7), 2 * channels, 7)
    const fine = g.reshape(g.depthwise(pairs, up), channels, 2 * time)
    const active = this.act.forward(g, fine)
    const down = g.repeat(filters.down, channels, 12)
    return g.depthwise(g.getRows(active, repeatedEdges(g, 2 * time, 5, 1)), down, 2)
  }
}

/** Frame numbers from -edge to time + edge, each `times` times, kept within the frames. */
function repeatedEdges(g: GraphBuilder, time: number, edge: number, times: number): Tensor<'i32'> {
  const count = time + 2 * edge
  const numbers = g.clamp(g.scale(g.arange(count), 1, -edge), 0, time - 1)
  const all = times === 1 ? numbers : g.reshape(g.repeat(g.reshape(numbers, 1, count), times, count), times * count)
  return g.cast(all, 'i32')
}
