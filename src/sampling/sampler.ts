/**
 * Samples a token from logits: penalties, suppression, temperature, top-k, top-p, then a seeded random choice.
 *
 * In: one row of logits (modified in place) and the tokens so far, which it counts. Out: a token id. Reference:
 * transformers `RepetitionPenaltyLogitsProcessor`, `SuppressTokensLogitsProcessor`, `TemperatureLogitsWarper`,
 * `TopKLogitsWarper`, `TopPLogitsWarper`, in the order of `GenerationMixin._get_logits_processor`; presence penalty as
 * vLLM applies it (after the repetition penalty, generated tokens only).
 */

import type { Random } from './random.ts'

export interface SamplerSettings {
  /** 0: greedy, after penalties and suppression. */
  readonly temperature: number
  /** (0, 1]; 1 disables it. */
  readonly topP: number
  /** Undefined or 0 disables it. */
  readonly topK?: number | undefined
  /** 1 disables it. Applies to prompt and generated tokens. */
  readonly repetitionPenalty?: number
  /** 0 disables it. Applies to generated tokens. */
  readonly presencePenalty?: number
  /** Ids that are never sampled. */
  readonly suppressed?: readonly number[]
}

/** A sampler of one stage of one request. */
export interface Sampler {
  /**
   * Samples an id from `logits` [vocab], which it overwrites, and counts it as generated. Throws if all logits are NaN.
   */
  (logits: Float32Array): number
  /** Counts a forced id as generated. */
  observe(id: number): void
  /**
   * Temperature, top-k and top-p, if nothing else changes logits: with these, the samples can be predicted.
   */
  readonly plain: Draw | undefined
  /** The random numbers of the next `count` samples, without consuming them. Zeros when greedy. */
  ahead(count: number): Float64Array
}

export type Draw = Pick<SamplerSettings, 'temperature' | 'topK' | 'topP'>

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

  const suppressed = settings.suppressed ?? []
  const upcoming: number[] = []
  const next: Random = () => upcoming.shift() ?? random()
  const plain = repetition === 1 && presence === 0 && suppressed.length === 0 ? settings : undefined

  const ahead = (count: number): Float64Array => {
    if (settings.temperature <= 0) return new Float64Array(count)
    while (upcoming.length < count) upcoming.push(random())
    return Float64Array.from(upcoming.slice(0, count))
  }
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
    for (const id of suppressed) if (id < logits.length) logits[id] = -Infinity
    const id = settings.temperature <= 0 ? argmax(logits) : draw(logits, settings, next)
    observe(id)
    return id
  }
  return Object.assign(sample, { observe, plain, ahead })
}

const BROKEN = 'The model produced no finite logit: its weights or inputs are broken.'

/** Index of the largest value, the first of equal ones. Throws when all values are NaN or -Infinity. */
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
  if (best < 0) throw new Error(BROKEN)
  return best
}

/** The candidates after top-k and top-p. */
export interface Distribution {
  /** Ascending. */
  readonly ids: Int32Array
  /** Proportional to the probabilities; `weights[i] / total` is the probability of `ids[i]`. */
  readonly weights: Float64Array
  readonly total: number
}

/** The ids that may be sampled, with their probabilities. Temperature must be above 0. */
export function distribution(logits: Float32Array, settings: Draw): Distribution {
  const { temperature, topP } = settings
  const topK = settings.topK !== undefined && settings.topK > 0 ? Math.min(settings.topK, logits.length) : undefined
  const floor = topK === undefined || topK === logits.length ? -Infinity : kthLargest(logits, topK)
  // Equal logits may give more than k candidates.
  const left: number[] = []
  let highest = -Infinity
  for (let id = 0; id < logits.length; id += 1) {
    const logit = logits[id]!
    if (!(logit >= floor) || logit === -Infinity) continue
    left.push(id)
    if (logit > highest) highest = logit
  }
  if (left.length === 0) throw new Error(BROKEN)
  const ids = Int32Array.from(left)
  const weights = new Float64Array(ids.length)
  let total = 0
  for (let index = 0; index < ids.length; index += 1) {
    const weight = Math.exp((logits[ids[index]!]! - highest) / temperature)
    weights[index] = weight
    total += weight
  }
  const all = { ids, weights, total }
  return topP < 1 ? nucleus(all, topP) : all
}

function draw(logits: Float32Array, settings: SamplerSettings, random: Random): number {
  const { ids, weights, total } = distribution(logits, settings)
  let left = random() * total
  for (let index = 0; index < ids.length; index += 1) {
    left -= weights[index]!
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
 * Applies top-p: removes a token if it and all less probable ones sum to at most 1 - topP. One token always remains.
 * Tokens below (1 - topP) / count are removed without sorting, because their sum cannot reach the limit.
 */
function nucleus({ ids, weights, total }: Distribution, topP: number): Distribution {
  const limit = (1 - topP) * total
  const sure = limit / weights.length
  let removed = 0
  const undecided: number[] = []
  for (let index = 0; index < weights.length; index += 1) {
    const weight = weights[index]!
    if (weight < sure) removed += weight
    else undecided.push(index)
  }
  undecided.sort((left, right) => weights[left]! - weights[right]! || right - left)
  let first = 0
  while (first < undecided.length - 1) {
    removed += weights[undecided[first]!]!
    if (removed > limit) break
    first += 1
  }
  const kept = Int32Array.from(undecided.slice(first)).sort()
  const keptWeights = Float64Array.from(kept, (index) => weights[index]!)
  return {
    ids: Int32Array.from(kept, (index) => ids[index]!),
    weights: keptWeights,
    total: keptWeights.reduce((sum, weight) => sum + weight, 0),
  }
}
