/**
 * Sampling as graph operations: predicts the host sampler's choices, within the precision of f32.
 *
 * In: logits [vocabulary, batch], settings, and one number in [0, 1) per column. Out: ids [batch]. The host sums in
 * f64, so a choice close to a boundary may differ: the host's sampler samples again from the same logits and numbers.
 * Ids are in range for any logits.
 */

import type { Draw } from '../../sampling/sampler.ts'
import type { GraphBuilder, Tensor } from '../../tensor/index.ts'

/** `noise` [1, batch]: the host's random number for each column; not used when greedy. */
export function sampleInGraph(
  g: GraphBuilder,
  logits: Tensor<'f32'>,
  settings: Draw,
  noise: Tensor<'f32'>,
): Tensor<'i32'> {
  const { temperature, topP } = settings
  const [vocabulary, batch] = logits.shape
  if (temperature <= 0) return g.argmax(logits)
  const scaled = g.scale(logits, 1 / temperature)
  const topK = Math.min(settings.topK || vocabulary, vocabulary)
  let weights = g.softMax(scaled)
  if (topK < vocabulary || topP < 1) {
    const chosen = pick(g, scaled, g.largest(scaled, topK))
    const sorted = pick(g, chosen, g.argsort(chosen))
    const odds = g.softMax(sorted)
    // A token is a candidate while the sum of more probable ones is below top-p.
    const kept = g.step(g.scale(g.sub(g.cumulativeSum(odds), odds), -1, topP))
    const last = clampedIndex(g, g.scale(g.sumRows(kept), 1, -1), topK)
    const floor = pick(g, sorted, last)
    weights = g.mul(weights, g.scale(g.step(g.scale(g.sub(scaled, floor), -1)), -1, 1))
  }
  const reached = g.cumulativeSum(weights)
  const above = g.step(g.sub(reached, g.mul(g.sumRows(weights), noise)))
  return g.reshape(clampedIndex(g, g.scale(g.sumRows(above), -1, vocabulary), vocabulary), batch)
}

/** Entries of each row by number: a [n, batch], ids [count, batch] to [count, batch]. */
function pick(g: GraphBuilder, a: Tensor<'f32'>, ids: Tensor<'i32'>): Tensor<'f32'> {
  const [n, batch] = a.shape
  return g.reshape(g.getRows(g.reshape(a, 1, n, batch), ids), ids.shape[0], batch)
}

/** Whole numbers to ids from 0 to `count` - 1. */
function clampedIndex(g: GraphBuilder, a: Tensor<'f32'>, count: number): Tensor<'i32'> {
  return g.cast(g.clamp(a, 0, count - 1), 'i32')
}
