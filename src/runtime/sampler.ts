/**
 * Picks a token from logits: penalties, suppression, temperature, top-k, top-p, then a seeded draw.
 *
 * In: one row of logits (changed in place) and the tokens seen so far. Out: a token id. Pure but for the counters it keeps.
 * Reference: transformers `RepetitionPenaltyLogitsProcessor`, `SuppressTokensLogitsProcessor`, `TemperatureLogitsWarper`,
 * `TopKLogitsWarper`, `TopPLogitsWarper`, in the order of `GenerationMixin._get_logits_processor`; presence penalty as vLLM applies
 * it (after the repetition penalty, generated tokens only).
 */

import type { Random } from './random.ts'

export interface SamplerSettings {
  /** 0 picks the largest logit; penalties and suppression still count. */
  readonly temperature: number
  /** (0, 1]; 1 switches it off. */
  readonly topP: number
  /** Undefined or 0 switches it off. */
  readonly topK?: number | undefined
  /** 1 switches it off. Counts prompt and generated tokens. */
  readonly repetitionPenalty?: number
  /** 0 switches it off. Counts generated tokens. */
  readonly presencePenalty?: number
  /** Ids never picked. */
  readonly suppressed?: readonly number[]
}

/** A sampler of one stage of one request. */
export interface Sampler {
  /** Picks an id from `logits` [vocab], which it overwrites, and counts it as generated. Throws on logits that are all NaN. */
  (logits: Float32Array): number
  /** Counts an id that was forced, not sampled. */
  observe(id: number): void
}

/**
 * @param settings what to apply.
 * @param random the stage's own stream; not called when greedy.
 * @param prompt ids that the repetition penalty counts from the start.
 */
export function createSampler(settings: SamplerSettings, random: Random, prompt: Iterable<number> = []): Sampler {
  const repetition = settings.repetitionPenalty ?? 1
  const presence = settings.presencePenalty ?? 0
  const seen = new Set<number>(repetition === 1 ? [] : prompt)
  const generated = new Set<number>()

  const observe = (id: number): void => {
    if (repetition !== 1) seen.add(id)
    if (presence !== 0) generated.add(id)
  }
  const sample = (logits: Float32Array): number => {
    for (const id of seen) {
      const score = logits[id]
      if (score !== undefined) logits[id] = score < 0 ? score * repetition : score / repetition
    }
    for (const id of generated) {
      const score = logits[id]
      if (score !== undefined) logits[id] = score - presence
    }
    for (const id of settings.suppressed ?? []) if (id < logits.length) logits[id] = -Infinity
    const id = settings.temperature <= 0 ? argmax(logits) : draw(logits, settings, random)
    observe(id)
    return id
  }
  return Object.assign(sample, { observe })
}

/** Index of the largest value, the first of equals. Throws when nothing compares (all NaN or -Infinity). */
export function argmax(values: Float32Array): number {
  let best = -1
  let bestValue = -Infinity
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index]!
    if (value > bestValue) {
      best = index
      bestValue = value
    }
  }
  if (best < 0) throw new Error('The model produced no finite logit: its weights or inputs are broken.')
  return best
}

/** The ids that top-k and top-p leave, ascending, with their probabilities (sum 1). Temperature must be above 0. */
export function distribution(
  logits: Float32Array,
  settings: Pick<SamplerSettings, 'temperature' | 'topK' | 'topP'>,
): { ids: Int32Array; probabilities: Float64Array } {
  const highest = logits[argmax(logits)]!
  const { temperature, topP } = settings
  const topK = settings.topK !== undefined && settings.topK > 0 ? Math.min(settings.topK, logits.length) : undefined
  const floor = topK === undefined || topK === logits.length ? -Infinity : kthLargest(logits, topK)
  const kept: number[] = []
  for (let id = 0; id < logits.length; id += 1) if (logits[id]! >= floor && logits[id]! > -Infinity) kept.push(id)
  let ids = Int32Array.from(kept)
  let weights = new Float64Array(ids.length)
  let total = 0
  for (let index = 0; index < ids.length; index += 1) {
    const weight = Math.exp((logits[ids[index]!]! - highest) / temperature)
    weights[index] = weight
    total += weight
  }
  if (topP < 1) {
    const left = nucleus(weights, total, topP)
    ids = ids.filter((_, index) => left[index] === 1)
    weights = weights.filter((_, index) => left[index] === 1)
    total = weights.reduce((sum, weight) => sum + weight, 0)
  }
  return { ids, probabilities: weights.map((weight) => weight / total) }
}

function draw(logits: Float32Array, settings: SamplerSettings, random: Random): number {
  const { ids, probabilities } = distribution(logits, settings)
  let left = random()
  for (let index = 0; index < ids.length; index += 1) {
    left -= probabilities[index]!
    if (left < 0) return ids[index]!
  }
  return ids[ids.length - 1]!
}

/** The k-th largest value, by a min-heap of k: one pass over the vocabulary. */
function kthLargest(values: Float32Array, k: number): number {
  const heap = new Float32Array(k).fill(-Infinity)
  for (const value of values) {
    if (!(value > heap[0]!)) continue
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= k) break
      if (child + 1 < k && heap[child + 1]! < heap[child]!) child += 1
      if (heap[child]! >= value) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = value
  }
  return heap[0]!
}

/**
 * Marks what top-p keeps: a token goes when it and all less likely ones sum to at most 1 - topP; one token always stays.
 * Tokens each below (1 - topP) / count go without sorting: all of them together cannot reach the limit.
 */
function nucleus(weights: Float64Array, total: number, topP: number): Uint8Array {
  const limit = (1 - topP) * total
  const sure = limit / weights.length
  const kept = new Uint8Array(weights.length)
  let removed = 0
  const undecided: number[] = []
  for (let index = 0; index < weights.length; index += 1) {
    if (weights[index]! < sure) removed += weights[index]!
    else undecided.push(index)
  }
  undecided.sort((left, right) => weights[left]! - weights[right]! || right - left)
  undecided.forEach((index, rank) => {
    removed += weights[index]!
    if (removed > limit || rank === undecided.length - 1) kept[index] = 1
  })
  return kept
}
