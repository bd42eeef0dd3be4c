/**
 * Writes and reads the keys and values of one sequence in a graph, in the layout of its cache.
 *
 * In: a step's {@link Segment} and a layer. Out: effects of the graph, and views for `attendCached`.
 */

import type { GraphBuilder, Tensor } from '../tensor/index.ts'
import type { Segment } from './kv-step.ts'

/** Writes a segment's new keys and values, [kv heads * head, tokens], as effects of the graph. */
export function writeCache(
  g: GraphBuilder,
  { cache, rows, valueIndices }: Segment,
  layer: number,
  keys: Tensor<'f32'>,
  values: Tensor<'f32'>,
): void {
  const stored = cache.layer(layer)
  g.effect(g.setRows(stored.keys, keys, rows))
  if (!valueIndices) return g.effect(g.setRows(stored.values, values, rows))
  const column = g.reshape(stored.values, 1, cache.reserved * cache.width)
  g.effect(g.setRows(column, g.reshape(values, 1, valueIndices.shape[0]), valueIndices))
}

/**
 * Views of the keys [head, bucket, kv heads], and of the values: the same, or in columns [bucket, head, kv heads].
 */
export function readCache(
  g: GraphBuilder,
  { cache, bucket, valueIndices }: Segment,
  layer: number,
  headSize: number,
): { keys: Tensor<'f16' | 'f32'>; values: Tensor<'f16' | 'f32'>; columns: boolean } {
  const stored = cache.layer(layer)
  const keyValueHeads = cache.width / headSize
  const inRows = (all: Tensor<'f16' | 'f32'>): Tensor<'f16' | 'f32'> =>
    g.view(all, [headSize, bucket, keyValueHeads], { strides: [all.strides[1], headSize * all.strides[0]] })
  const keys = inRows(stored.keys)
  if (!valueIndices) return { keys, values: inRows(stored.values), columns: false }
  const [, column] = stored.values.strides
  const values = g.view(stored.values, [bucket, headSize, keyValueHeads], { strides: [column, headSize * column] })
  return { keys, values, columns: true }
}
