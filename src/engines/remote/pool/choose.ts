/**
 * Which replica of a pool gets a request.
 *
 * In: candidates with what is pending at each, the request's cost, a key for affinity, random numbers. Out: one of
 * them, or that all are full. Pure.
 */

export type Strategy = 'least-pending' | 'two-choices' | 'round-robin' | 'random'

export interface Candidate {
  readonly name: string
  /** Cost of its live requests, as counted here. */
  readonly pending: number
  /** Most of it. */
  readonly maxPending: number
  /** Its share, from its slots. */
  readonly weight: number
}

export interface ChooseOptions {
  readonly strategy: Strategy
  readonly cost: number
  /** Requests of one key stay together while the load allows it. Absent: no affinity. */
  readonly affinity?: string
  /** In [0, 1). */
  readonly random: () => number
  /** Counts up with each request; for round robin. */
  readonly turn: number
}

/** Affinity is dropped when the preferred replica has so much more pending than the least. */
const AFFINITY_SLACK = 2

/** Undefined: all are full. */
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

/** The least after this request, by weight; ties at random, so that several servers with equal state spread them. */
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

/** Highest random weight (Thaler and Ravishankar, 1998): a replica that comes or goes moves only its own keys. */
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
