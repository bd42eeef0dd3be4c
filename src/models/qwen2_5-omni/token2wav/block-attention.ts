/**
 * Block attention over frames: each block of queries attends to its own block of keys, and in some layers to the
 * previous or the next one.
 *
 * Blocks are a batch dimension, so that no masked value is computed. The rows of a batch are consecutive, and each has
 * whole blocks. Reference: `_create_block_diff` and the mask in transformers `Qwen2_5OmniToken2WavDiTModel`.
 */

import { HALF_NEGATIVE_INFINITY, type GraphBuilder, type InputData, type Tensor } from '../../../tensor/index.ts'

/** Blocks attended to in addition to the own block. */
export interface BlockReach {
  readonly back: 0 | 1
  readonly ahead: 0 | 1
}

export interface BlockLayout {
  /** Frames of a block. */
  readonly block: number
  /** Blocks of all rows together. */
  readonly blocks: number
  /** Masked frames at each row's end; fewer than a block. */
  readonly empty: number
  readonly reach: BlockReach
}

export interface BlockRange {
  /** q, k and v: [heads * head, frames of all rows] to the same. */
  attend(
    g: GraphBuilder,
    input: { q: Tensor<'f32'>; k: Tensor<'f32'>; v: Tensor<'f32'>; heads: number; headSize: number },
  ): Tensor<'f32'>
}

function nameOf({ back, ahead }: BlockReach): string {
  return `reach.${back}.${ahead}`
}

/** Declares the inputs of layers with this range, once per graph: see {@link blockInputs}. */
export function blockRange(g: GraphBuilder, { block, blocks, empty, reach }: BlockLayout): BlockRange {
  const span = (1 + reach.back + reach.ahead) * block
  const wide = span > block
  const keyRows = wide ? g.input(`${nameOf(reach)}.rows`, 'i32', [span * blocks]) : undefined
  const mask = wide || empty > 0 ? g.input(`${nameOf(reach)}.mask`, 'f16', [span, block, 1, blocks]) : undefined
  return {
    attend(graph, { q, k, v, heads, headSize }) {
      const inner = heads * headSize
      const byHead = (x: Tensor<'f32'>, frames: number): Tensor<'f32'> =>
        graph.permute(graph.reshape(x, headSize, heads, frames, blocks), 0, 2, 1, 3)
      const seen = (x: Tensor<'f32'>): Tensor<'f32'> => byHead(keyRows ? graph.getRows(x, keyRows) : x, span)
      const attended = graph.flashAttention(byHead(q, block), seen(k), seen(v), mask, headSize ** -0.5)
      return graph.reshape(attended, inner, block * blocks)
    },
  }
}

/** Data of the inputs declared by {@link blockRange}. `rows`: rows of the batch, each with blocks / rows blocks. */
export function blockInputs({ block, blocks, empty, reach }: BlockLayout, rows: number): Record<string, InputData> {
  const width = 1 + reach.back + reach.ahead
  if (width === 1 && empty === 0) return {}
  const span = width * block
  const perRow = blocks / rows
  const keyRows = new Int32Array(span * blocks)
  const mask = new Uint16Array(span * block * blocks)
  for (let index = 0; index < blocks; index++) {
    const within = index % perRow
    const first = index - within
    for (let key = 0; key < span; key++) {
      const seenBlock = within - reach.back + Math.floor(key / block)
      const frame = seenBlock * block + (key % block)
      const visible = seenBlock >= 0 && seenBlock < perRow && frame < perRow * block - empty
      keyRows[index * span + key] = first * block + Math.min(Math.max(frame, 0), perRow * block - 1)
      if (visible) continue
      for (let query = 0; query < block; query++) mask[(index * block + query) * span + key] = HALF_NEGATIVE_INFINITY
    }
  }
  const name = nameOf(reach)
  return { ...(width > 1 && { [`${name}.rows`]: keyRows }), [`${name}.mask`]: mask }
}
