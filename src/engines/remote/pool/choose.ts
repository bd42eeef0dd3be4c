/**
 * Chooses a replica of a pool for a request (load balancing).
 *
 * In: candidates with their pending cost, the request's cost, an affinity key, random numbers. Out: one candidate, or
 * undefined when all are full. Pure.
 */

export type Strategy = 'least-pending' | 'two-choices' | 'round-robin' | 'random'

export interface Candidate {
  readonly name: string
  /** Cost of its running requests. */
  readonly pending: number
  /** Most pending cost. */
  readonly maxPending: number
  /** Relative capacity. */
  readonly weight: number
}

export interface ChooseOptions {
  readonly strategy: Strategy
  readonly cost: number
  /** Requests with equal keys prefer the same replica. Absent: no affinity. */
  readonly affinity?: string
  /** In [0, 1). */
  readonly random: () => number
  /** Number of the request, for round robin. */
  readonly turn: number
}

/** Affinity is ignored when the preferred replica's pending cost exceeds the least one by more than this. */
const AFFINITY_SLACK = 2

/** Chooses a candidate. Undefined when all are full. */
export function choose(candidates: readonly Candidate[], options: ChooseOptions): Candidate | undefined {
  const { cost, affinity, random, strategy, turn } = options
  const free = candidates.filter(({ pending, maxPending }) => pending === 0 || pending + cost <= maxPending)
  if (free.length === 0) return undefined
  if (affinity !== undefined) {
    const favourite = rendezvous(free, affinity)
    const least = Math.min(...free.map(({ pending }) => pending))
    if (favourite.pending - least <= AFFINITY_SLACK) return favourite
  }
  switch (strategy) {
    case 'least-pending':
      return leastPending(free, cost, random)
    case 'two-choices': {
      const pair = [free[Math.floor(random() * free.length)]!, free[Math.floor(random() * free.length)]!]
      return leastPending(pair, cost, random)
    }
    case 'round-robin':
      return free[turn % free.length]
    case 'random':
      return free[Math.floor(random() * free.length)]
    default:
      return strategy satisfies never
  }
}

/** The lowest load by weight, including this request. Ties are random, so that several servers do not choose alike. */
function leastPending(free: readonly Candidate[], cost: number, random: () => number): Candidate {
  let best: Candidate[] = []
  let least = Number.POSITIVE_INFINITY
  for (const candidate of free) {
    const load = (candidate.pending + cost) / candidate.weight
    if (load < least) {
      least = load
      best = [candidate]
    } else if (load === least) best.push(candidate)
  }
  return best[Math.floor(random() * best.length)]!
}

/** Rendezvous hashing (Thaler and Ravishankar, 1998): adding or removing a replica moves only its own keys. */
function rendezvous(candidates: readonly Candidate[], key: string): Candidate {
  let best = candidates[0]!
  let highest = Number.NEGATIVE_INFINITY
  for (const candidate of candidates) {
    const unit = (hash(`${candidate.name}\u0000${key}`) + 1) / 4_294_967_297
    const score = -candidate.weight / Math.log(unit)
    if (score > highest) {
      highest = score
      best = candidate
    }
  }
  return best
}

/** FNV-1a with a final mix, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  value ^= value >>> 16
  value = Math.imul(value, 0x85ebca6b)
  value ^= value >>> 13
  return value >>> 0
}
