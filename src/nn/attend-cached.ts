/**
 * Attention of a few or many queries to a cache's keys and values: which of three layouts is fastest, and how each is
 * computed.
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'

/** From this many query rows on, the library uses its much faster tiled kernel. */
const TILE = 64
/** Filling up to a tile pays off from this many rows on. */
const FILL = 16

/** With values in columns, matrix products are faster than the library's one operation up to this many rows. */
const PRODUCTS = 32

/** What is attended to. */
interface Stored {
  /** [head, rows, kv heads]. */
  readonly keys: Tensor<'f16' | 'f32'>
  /** As the keys, or [rows, head, kv heads] for use as the left operand of products. */
  readonly values: Tensor<'f16' | 'f32'>
  readonly mask: Tensor<'f16'>
  readonly scale: number
}

/**
 * Attention of queries [head, heads, tokens] to stored keys and values [head, rows, kv heads]; to [head * heads,
 * tokens]. `mask` is f16 [rows, tokens], or [rows, tokens * heads / kv heads] with each token's row repeated: then
 * query heads that share a key head become query rows, so that each key is read once, and few tokens still fill a tile.
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
  const folds = mask.shape[1] >= rows
  if (columns && folds && rows <= PRODUCTS) return attendByProducts(g, q, group, { keys, values, mask, scale })
  const stored = { keys, values: columns ? g.cont(g.permute(values, 1, 0, 2, 3)) : values, mask, scale }
  return group > 1 && folds ? attendFolded(g, q, group, stored) : attendPlain(g, q, stored)
}

/** Mask rows that {@link attendCached} needs for this many tokens, when each is repeated for a group of heads. */
export function foldedRows(tokens: number, group: number, columns = false): number {
  if (group === 1 || tokens >= TILE) return tokens
  const rows = tokens * group
  if (columns && rows <= PRODUCTS) return rows
  return rows >= FILL && rows < TILE ? TILE : rows
}

/** Two products and a softmax, all heads of a group as rows; values in columns. */
function attendByProducts(g: GraphBuilder, q: Tensor<'f32'>, group: number, stored: Stored): Tensor<'f32'> {
  const [head, heads, tokens] = q.shape
  const odds = g.softMax(g.mulMat(stored.keys, foldHeads(g, q, group)), { mask: stored.mask, scale: stored.scale })
  const attended = g.mulMat(stored.values, odds)
  if (tokens === 1) return g.reshape(attended, head * heads, 1)
  // [head, group * tokens, kv heads] to [head, group, kv heads, tokens].
  const apart = g.view(attended, [head, group, tokens, heads / group])
  return g.reshape(g.cont(g.permute(apart, 0, 1, 3, 2)), head * heads, tokens)
}

/** The library's one operation, all heads of a group as rows, padded to a tile where that pays off. */
function attendFolded(g: GraphBuilder, q: Tensor<'f32'>, group: number, stored: Stored): Tensor<'f32'> {
  const [head, heads, tokens] = q.shape
  const rows = tokens * group
  const filled = rows >= FILL && rows < TILE && stored.mask.shape[1] >= TILE ? TILE : rows
  const folded = foldHeads(g, q, group)
  const query =
    filled > rows
      ? g.pad(folded, [
          [0, 0],
          [0, filled - rows],
        ])
      : folded
  const attended = g.flashAttention(query, stored.keys, stored.values, stored.mask, stored.scale)
  // [head, kv heads, group, tokens] to [head, group, kv heads, tokens].
  const apart = g.view(attended, [head, heads / group, group, tokens])
  return g.reshape(g.cont(g.permute(apart, 0, 2, 1, 3)), head * heads, tokens)
}

/** The library's one operation, each head by itself. */
function attendPlain(g: GraphBuilder, q: Tensor<'f32'>, stored: Stored): Tensor<'f32'> {
  const [head, heads, tokens] = q.shape
  const attended = g.flashAttention(g.permute(q, 0, 2, 1, 3), stored.keys, stored.values, stored.mask, stored.scale)
  return g.reshape(attended, head * heads, tokens)
}

/** [head, group * kv heads, tokens] to [head, tokens * group, kv heads]: row = token * group + head of the group. */
function foldHeads(g: GraphBuilder, q: Tensor<'f32'>, group: number): Tensor<'f32'> {
  const [head, heads, tokens] = q.shape
  const whole = g.cont(q)
  if (tokens === 1) return g.reshape(whole, head, group, heads / group)
  const split = g.reshape(whole, head, group, heads / group, tokens)
  return g.reshape(g.cont(g.permute(split, 0, 1, 3, 2)), head, tokens * group, heads / group)
}
