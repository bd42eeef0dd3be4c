/**
 * Multi-head and grouped-query attention, with or without a cache.
 *
 * x: [hidden, tokens] to [hidden, tokens]. Reference: transformers `Qwen3OmniMoeThinkerTextAttention` (norms of queries
 * and keys), `Qwen2Attention` (biases), `Qwen3OmniMoeAudioAttention` and `Qwen3OmniMoeVisionAttention` (no cache,
 * block-diagonal).
 */

import { TensorError, type GraphBuilder, type Tensor } from '../tensor/index.ts'
import { attendCached } from './attend-cached.ts'
import { readCache, writeCache } from './kv-access.ts'
import type { Segment } from './kv-step.ts'
import { Linear } from './linear.ts'
import { RmsNorm } from './norm.ts'
import type { ParameterPrecision, Parameters } from './parameters.ts'
import type { Rotary } from './rotary.ts'

export interface AttentionOptions {
  readonly hidden: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  /** Epsilon of the RMS norms on queries and keys (`q_norm`, `k_norm`), where the model has them. */
  readonly queryKeyNorm?: number
  /** Biases of the query, key and value projections. Default false. */
  readonly bias?: boolean
  /** Bias of the key projection where it differs from the others'. */
  readonly keyBias?: boolean
  readonly outputBias?: boolean
  /** Names of the query, key, value and output projections. Default `q_proj`, `k_proj`, `v_proj`, `o_proj`. */
  readonly names?: readonly [string, string, string, string]
  readonly precision?: ParameterPrecision
}

/** Rotary position embedding of queries and keys: a {@link Rotary} and its graph input. */
export interface Rotation {
  readonly rotary: Rotary
  readonly positions: Tensor<'i32'>
}

export class Attention {
  readonly q_proj: Linear
  readonly k_proj: Linear
  readonly v_proj: Linear
  readonly o_proj: Linear
  readonly q_norm: RmsNorm | undefined
  readonly k_norm: RmsNorm | undefined
  readonly options: AttentionOptions

  constructor(parameters: Parameters, options: AttentionOptions) {
    const { hidden, heads, keyValueHeads, headSize, queryKeyNorm, precision } = options
    if (heads % keyValueHeads !== 0)
      throw new TensorError(`the number of heads, ${heads}, is not a multiple of keyValueHeads, ${keyValueHeads}`)
    this.options = options
    const linear = { bias: options.bias ?? false, ...(precision && { precision }) }
    const [query, key, value, output] = options.names ?? ['q_proj', 'k_proj', 'v_proj', 'o_proj']
    this.q_proj = new Linear(parameters.scope(query), hidden, heads * headSize, linear)
    this.k_proj = new Linear(parameters.scope(key), hidden, keyValueHeads * headSize, {
      ...linear,
      bias: options.keyBias ?? linear.bias,
    })
    this.v_proj = new Linear(parameters.scope(value), hidden, keyValueHeads * headSize, linear)
    this.o_proj = new Linear(parameters.scope(output), heads * headSize, hidden, {
      ...linear,
      bias: options.outputBias ?? false,
    })
    if (queryKeyNorm !== undefined) {
      this.q_norm = new RmsNorm(parameters.scope('q_norm'), headSize, queryKeyNorm)
      this.k_norm = new RmsNorm(parameters.scope('k_norm'), headSize, queryKeyNorm)
    }
  }

  /** Decoder attention: writes the new keys and values of `layer` to the caches, then attends to all visible ones. */
  forward(
    g: GraphBuilder,
    x: Tensor<'f32'>,
    segments: readonly Segment[],
    layer: number,
    rotation?: Rotation,
  ): Tensor<'f32'> {
    const { q, k, v } = this.project(g, x, rotation)
    const { heads, keyValueHeads, headSize } = this.options
    const flatten = (all: Tensor<'f32'>): Tensor<'f32'> => g.reshape(g.cont(all), keyValueHeads * headSize, x.shape[1])
    const [keys, values] = [flatten(k), flatten(v)]
    // Queries first, so that the writes below have a fixed order.
    g.effect(q)
    const parts = segments.map((segment) => {
      const slice = (all: Tensor<'f32'>, dimension: 1 | 2): Tensor<'f32'> =>
        segments.length === 1 ? all : g.slice(all, dimension, segment.start, segment.tokens)
      writeCache(g, segment, layer, slice(keys, 1), slice(values, 1))
      const query = slice(q, 2)
      const cached = readCache(g, segment, layer, headSize)
      return attendCached(g, query, cached.keys, cached.values, segment.mask, headSize ** -0.5, cached.columns)
    })
    return this.o_proj.forward(g, concatTokens(g, parts, heads * headSize))
  }

  /**
   * Encoder attention: tokens attend to all tokens of their block. `lengths`: the blocks' tokens, in order (default:
   * one block). `mask` f16 [tokens, tokens], only with one block: 0 where visible, -infinity elsewhere.
   */
  encode(
    g: GraphBuilder,
    x: Tensor<'f32'>,
    options: { lengths?: readonly number[]; rotation?: Rotation; mask?: Tensor<'f16'> } = {},
  ): Tensor<'f32'> {
    const { q, k, v } = this.project(g, x, options.rotation)
    const attended = attendBlocks(g, q, k, v, this.options.headSize ** -0.5, options)
    return this.o_proj.forward(g, attended)
  }

  /** Queries [head, heads, tokens], keys and values [head, kv heads, tokens], after norms and rotation. */
  project(
    g: GraphBuilder,
    x: Tensor<'f32'>,
    rotation?: Rotation,
  ): { q: Tensor<'f32'>; k: Tensor<'f32'>; v: Tensor<'f32'> } {
    const { heads, keyValueHeads, headSize } = this.options
    const tokens = x.shape[1]
    let q = g.reshape(this.q_proj.forward(g, x), headSize, heads, tokens)
    let k = g.reshape(this.k_proj.forward(g, x), headSize, keyValueHeads, tokens)
    const v = g.reshape(this.v_proj.forward(g, x), headSize, keyValueHeads, tokens)
    if (this.q_norm) q = this.q_norm.forward(g, q)
    if (this.k_norm) k = this.k_norm.forward(g, k)
    if (rotation) {
      q = rotation.rotary.apply(g, q, rotation.positions)
      k = rotation.rotary.apply(g, k, rotation.positions)
    }
    return { q, k, v }
  }
}

/**
 * Attention within blocks of tokens: q [head, heads, tokens], k and v [head, kv heads, tokens]; to [head * heads,
 * tokens]. Options as in {@link Attention.encode}. Throws {@link TensorError} when the blocks do not match the tokens.
 */
export function attendBlocks(
  g: GraphBuilder,
  q: Tensor<'f32'>,
  k: Tensor<'f32'>,
  v: Tensor<'f32'>,
  scale: number,
  options: { lengths?: readonly number[]; mask?: Tensor<'f16'> } = {},
): Tensor<'f32'> {
  const [head, heads, tokens] = q.shape
  if (head > 32 && head % 16 !== 0) {
    // The library's tiled kernel requires a multiple of 16; padding with zeros changes no product.
    const padded = (all: Tensor<'f32'>): Tensor<'f32'> => g.pad(all, [[0, 16 - (head % 16)]])
    const attended = attendBlocks(g, padded(q), padded(k), padded(v), scale, options)
    const byHead = g.reshape(attended, attended.shape[0] / heads, heads, tokens)
    return g.reshape(g.cont(g.slice(byHead, 0, 0, head)), head * heads, tokens)
  }
  const lengths = options.lengths ?? [tokens]
  if (lengths.reduce((sum, length) => sum + length, 0) !== tokens) {
    throw new TensorError(`blocks of ${lengths.join(', ')} tokens do not add up to ${tokens} tokens`)
  }
  if (options.mask && lengths.length !== 1) throw new TensorError(`a mask requires one block, got ${lengths.length}`)
  // Consecutive blocks of the same length are one operation, batched along the fourth dimension.
  const runs: { length: number; count: number }[] = []
  for (const length of lengths) {
    const last = runs.at(-1)
    if (last?.length === length) last.count++
    else runs.push({ length, count: 1 })
  }
  let start = 0
  const parts = runs.map(({ length, count }) => {
    const blocks = (all: Tensor<'f32'>): Tensor<'f32'> => {
      const window = g.view(all, [head, all.shape[1], length, count], {
        strides: [all.strides[1], all.strides[2], length * all.strides[2]],
        offset: start * all.strides[2],
      })
      return g.permute(window, 0, 2, 1, 3)
    }
    const attended = g.flashAttention(blocks(q), blocks(k), blocks(v), options.mask, scale)
    start += length * count
    return g.reshape(attended, head * heads, length * count)
  })
  return concatTokens(g, parts, head * heads)
}

function concatTokens(g: GraphBuilder, parts: readonly Tensor<'f32'>[], width: number): Tensor<'f32'> {
  // Concatenated in pairs, so that each part is copied at most log2(parts) times.
  let level = [...parts]
  while (level.length > 1) {
    const next: Tensor<'f32'>[] = []
    for (let i = 0; i < level.length; i += 2) {
      const [a, b] = [level[i], level[i + 1]]
      if (a) next.push(b ? g.concat(a, b, 1) : a)
    }
    level = next
  }
  const [joined] = level
  if (!joined) throw new TensorError(`attention needs at least one sequence (width ${width})`)
  return joined
}
