/**
 * Attention of queries to a cache's keys and values, computed in the fastest of three ways for the number of queries.
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'

/** Query rows from which the library uses its faster tiled kernel. */
const TILE_ROWS = 64
/** Query rows from which padding to a tile is faster. */
const MIN_PADDED_ROWS = 16
/** Query rows up to which matrix products are faster than flash attention, with values in columns. */
const MAX_PRODUCT_ROWS = 32

interface CachedLayer {
  /** [head, rows, kv heads]. */
  readonly keys: Tensor<'f16' | 'f32'>
  /** As the keys, or in columns [rows, head, kv heads], which matrix products require. */
  readonly values: Tensor<'f16' | 'f32'>
  readonly mask: Tensor<'f16'>
  readonly scale: number
}

/**
 * Attention of queries [head, heads, tokens] to cached keys and values [head, rows, kv heads]; to [head * heads,
 * tokens]. `mask`: f16 [rows, tokens], or [rows, {@link maskRowsFor}] with each token's row repeated; then query heads
 * that share a key head are folded into query rows, so that each key is read once and few tokens fill a tile.
 * `columns`: values are [rows, head, kv heads].
 */
export function attendCached(
  g: GraphBuilder,
  q: Tensor<'f32'>,
  keys: Tensor<'f16' | 'f32'>,
  values: Tensor<'f16' | 'f32'>,
  mask: Tensor<'f16'>,
  scale: number,
  columns = false,
): Tensor<'f32'> {
  const group = q.shape[1] / keys.shape[2]
  const rows = q.shape[2] * group
  const isFolded = mask.shape[1] >= rows
  if (columns && isFolded && rows <= MAX_PRODUCT_ROWS)
    return attendByProducts(g, q, group, { keys, values, mask, scale })
  const cached = { keys, values: columns ? g.cont(g.permute(values, 1, 0, 2, 3)) : values, mask, scale }
  return group > 1 && isFolded ? attendFolded(g, q, group, cached) : attendPlain(g, q, cached)
}

/**
 * Mask rows of {@link attendCached} for this many tokens, with each token's row repeated for a group of query heads.
 */
export function maskRowsFor(tokens: number, group: number, columns = false): number {
  if (group === 1 || tokens >= TILE_ROWS) return tokens
  const rows = tokens * group
  if (columns && rows <= MAX_PRODUCT_ROWS) return rows
  return rows >= MIN_PADDED_ROWS && rows < TILE_ROWS ? TILE_ROWS : rows
}

/** Two matrix products and a softmax, with the heads of a group as rows; values in columns. */
function attendByProducts(g: GraphBuilder, q: Tensor<'f32'>, group: number, cached: CachedLayer): Tensor<'f32'> {
  const [head, heads, tokens] = q.shape
  const scores = g.mulMat(cached.keys, foldHeads(g, q, group))
  const probabilities = g.softMax(scores, { mask: cached.mask, scale: cached.scale })
  const attended = g.mulMat(cached.values, probabilities)
  if (tokens === 1) return g.reshape(attended, head * heads, 1)
  // [head, group * tokens, kv heads] to [head, group, kv heads, tokens].
  const unfolded = g.view(attended, [head, group, tokens, heads / group])
  return g.reshape(g.cont(g.permute(unfolded, 0, 1, 3, 2)), head * heads, tokens)
}

/** Flash attention with the heads of a group as rows, padded to a tile where that is faster. */
function attendFolded(g: GraphBuilder, q: Tensor<'f32'>, group: number, cached: CachedLayer): Tensor<'f32'> {
  const [head, heads, tokens] = q.shape
  const rows = tokens * group
  const isPadded = rows >= MIN_PADDED_ROWS && rows < TILE_ROWS && cached.mask.shape[1] >= TILE_ROWS
  const folded = foldHeads(g, q, group)
  const query = isPadded
    ? g.pad(folded, [
        [0, 0],
        [0, TILE_ROWS - rows],
      ])
    : folded
  const attended = g.flashAttention(query, cached.keys, cached.values, cached.mask, cached.scale)
  // [head, kv heads, group, tokens] to [head, group, kv heads, tokens].
  const unfolded = g.view(attended, [head, heads / group, group, tokens])
  return g.reshape(g.cont(g.permute(unfolded, 0, 2, 1, 3)), head * heads, tokens)
}

/** Flash attention, each query head separately. */
function attendPlain(g: GraphBuilder, q: Tensor<'f32'>, cached: CachedLayer): Tensor<'f32'> {
  const [head, heads, tokens] = q.shape
  const attended = g.flashAttention(g.permute(q, 0, 2, 1, 3), cached.keys, cached.values, cached.mask, cached.scale)
  return g.reshape(attended, head * heads, tokens)
}

/**
 * [head, group * kv heads, tokens] to [head, tokens * group, kv heads]; a row's index is token * group + head in the
 * group.
 */
function foldHeads(g: GraphBuilder, q: Tensor<'f32'>, group: number): Tensor<'f32'> {
  const [head, heads, tokens] = q.shape
  const contiguous = g.cont(q)
  if (tokens === 1) return g.reshape(contiguous, head, group, heads / group)
  const split = g.reshape(contiguous, head, group, heads / group, tokens)
  return g.reshape(g.cont(g.permute(split, 0, 1, 3, 2)), head, tokens * group, heads / group)
}
