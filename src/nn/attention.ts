/**
 * Multi-head attention, grouped-query, with or without a cache.
 *
 * x: [hidden, tokens] to [hidden, tokens]. Reference: transformers `Qwen3OmniMoeThinkerTextAttention` (norms of queries
 * and keys), `Qwen2Attention` (biases), `Qwen3OmniMoeAudioAttention` and `Qwen3OmniMoeVisionAttention` (no cache,
 * block-diagonal).
 */

import { TensorError, type GraphBuilder, type Tensor } from '../tensor/index.ts'
import { attendCached } from './attend-cached.ts'
import { readCache, writeCache } from './kv-access.ts'
import type { Segment } from './kv-cache.ts'
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

/** Turns queries and keys by position: a {@link Rotary} and its graph input. */
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
    if (heads % keyValueHeads !== 0) throw new TensorError(`${heads} heads cannot share ${keyValueHeads} key heads`)
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
    const flat = (all: Tensor<'f32'>): Tensor<'f32'> => g.reshape(g.cont(all), keyValueHeads * headSize, x.shape[1])
    const [keys, values] = [flat(k), flat(v)]
    // Queries first: the writes below then follow all they depend on, in a fixed order.
    g.effect(q)
    const parts = segments.map((segment) => {
      const own = (all: Tensor<'f32'>, dimension: 1 | 2): Tensor<'f32'> =>
        segments.length === 1 ? all : g.slice(all, dimension, segment.start, segment.tokens)
      writeCache(g, segment, layer, own(keys, 1), own(values, 1))
      const query = own(q, 2)
      const seen = readCache(g, segment, layer, headSize)
      return attendCached(g, query, seen.keys, seen.values, segment.mask, headSize ** -0.5, seen.columns)
    })
    return this.o_proj.forward(g, joinTokens(g, parts, heads * headSize))
  }

  /**
   * Encoder attention: tokens see all tokens of their own block. `lengths` are the blocks' sizes in order (default: one
   * block); with `mask` f16 [tokens, tokens], visibility within one block is the mask's.
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

  /** Queries [head, heads, tokens], keys and values [head, kv heads, tokens]: projected, normed, turned. */
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
 * tokens].
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
    // The library's tiles need heads of a multiple of 16; zeros change no product.
    const wider = (all: Tensor<'f32'>): Tensor<'f32'> => g.pad(all, [[0, 16 - (head % 16)]])
    const attended = attendBlocks(g, wider(q), wider(k), wider(v), scale, options)
    const apart = g.reshape(attended, attended.shape[0] / heads, heads, tokens)
    return g.reshape(g.cont(g.slice(apart, 0, 0, head)), head * heads, tokens)
  }
  const lengths = options.lengths ?? [tokens]
  if (lengths.reduce((sum, length) => sum + length, 0) !== tokens) {
    throw new TensorError(`blocks of ${lengths.join(', ')} do not make ${tokens} tokens`)
  }
  if (options.mask && lengths.length !== 1) throw new TensorError('a mask goes with one block')
  // Neighbouring blocks of one size are one operation, batched along the fourth dimension.
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
  return joinTokens(g, parts, head * heads)
}

function joinTokens(g: GraphBuilder, parts: readonly Tensor<'f32'>[], width: number): Tensor<'f32'> {
  // Joined in pairs, so that no part is copied more than log2(parts) times.
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
  if (!joined) throw new TensorError(`attention over no sequence (width ${width})`)
  return joined
}
