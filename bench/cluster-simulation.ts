/**
 * Time to first audio by load balancing policy, simulated: the functions that choose and eject are the server's, the
 * replicas are queues with service times recorded from vLLM-Omni.
 */
import { seededRandom } from '../testing/seeded-random.ts'
import { choose, type Strategy } from '../src/engines/remote/pool/choose.ts'
import {
  afterBadProbe,
  afterFailure,
  afterGoodProbe,
  afterSuccess,
  beginTrial,
  DEFAULT_HEALTH,
  type Health,
  trialDue,
} from '../src/engines/remote/pool/health.ts'
import { type Benchmark, quantile, round, type Row } from './harness.ts'

const SLOTS = 4
const FIRST_AUDIO = 0.4
const PER_SECOND = 0.45
/** Average share of slots in use; the slow replica counts in full. */
const LOAD = 0.7
const SLOWER = 3
/** Seconds for which the flapping replica is up, then down. */
const [ALIVE, DEAD] = [60, 20]
const PROBE_EVERY = 5

interface Job {
  readonly arrived: number
  readonly work: number
  tries: number
}

interface Replica {
  readonly name: string
  readonly slower: number
  readonly flaps: boolean
  health: Health
  pending: number
  running: number
  readonly queue: Job[]
  /** Incremented when it fails: earlier events are void. */
  life: number
  dead: boolean
}

/** Times of future events, soonest first. */
class Agenda {
  readonly #heap: { readonly at: number; readonly run: () => void }[] = []

  add(at: number, run: () => void): void {
    const heap = this.#heap
    heap.push({ at, run })
    for (let child = heap.length - 1; child > 0;) {
      const parent = (child - 1) >> 1
      if (heap[parent]!.at <= heap[child]!.at) break
      ;[heap[parent], heap[child]] = [heap[child]!, heap[parent]!]
      child = parent
    }
  }

  next(): { readonly at: number; readonly run: () => void } | undefined {
    const heap = this.#heap
    const [first] = heap
    const last = heap.pop()
    if (!first || !last || heap.length === 0) return first
    heap[0] = last
    for (let parent = 0; ;) {
      const [left, right] = [2 * parent + 1, 2 * parent + 2]
      let least = parent
      if (left < heap.length && heap[left]!.at < heap[least]!.at) least = left
      if (right < heap.length && heap[right]!.at < heap[least]!.at) least = right
      if (least === parent) return first
      ;[heap[parent], heap[least]] = [heap[least]!, heap[parent]!]
      parent = least
    }
  }
}

interface Result {
  readonly firstAudio: readonly number[]
  readonly moved: number
  readonly failed: number
}

function simulate(count: number, strategy: Strategy, bursty: boolean, jobs: number): Result {
  const random = seededRandom(17)
  const rules = DEFAULT_HEALTH
  const agenda = new Agenda()
  const replicas: Replica[] = Array.from({ length: count }, (_, index) => ({
    name: `r${index}`,
    slower: index === 0 ? SLOWER : 1,
    flaps: index === 1,
    health: { state: 'up', strikes: 0, badProbes: 0, times: 0, since: 0 },
    pending: 0,
    running: 0,
    queue: [],
    life: 0,
    dead: false,
  }))
  const firstAudio: number[] = []
  let now = 0
  let turn = 0
  let moved = 0
  let failed = 0
  let left = jobs

  const place = (job: Job): void => {
    const up = replicas.filter(({ health }) => health.state === 'up')
    turn += 1
    const found = choose(
      up.map(({ name, pending }) => ({ name, pending, maxPending: Number.POSITIVE_INFINITY, weight: 1 })),
      { strategy, cost: 1, random, turn },
    )
    const replica = replicas.find(({ name }) => name === found?.name)
    if (!replica) return lose()
    if (replica.dead) {
      replica.health = afterFailure(replica.health, 'eject', 'refused', now * 1000, rules)
      return again(job)
    }
    replica.pending += 1
    replica.queue.push(job)
    begin(replica)
  }

  const lose = (): void => {
    failed += 1
    left -= 1
  }

  const again = (job: Job): void => {
    if (job.tries >= 2) return lose()
    job.tries += 1
    moved += 1
    place(job)
  }

  const begin = (replica: Replica): void => {
    while (replica.running < SLOTS && replica.queue.length > 0) {
      const job = replica.queue.shift()!
      replica.running += 1
      const { life } = replica
      const first = now + FIRST_AUDIO * replica.slower
      let begun = false
      agenda.add(first, () => {
        if (replica.life !== life) return again(job)
        begun = true
        firstAudio.push(first - job.arrived)
        replica.health = afterSuccess(replica.health, now * 1000)
      })
      agenda.add(first + job.work * replica.slower, () => {
        // Cut off during the reply: an error, no retry.
        if (replica.life !== life) return begun ? lose() : undefined
        replica.running -= 1
        replica.pending -= 1
        left -= 1
        begin(replica)
      })
    }
  }

  const flap = (replica: Replica): void => {
    replica.dead = !replica.dead
    if (replica.dead) {
      replica.life += 1
      replica.running = 0
      replica.pending = 0
      for (const job of replica.queue.splice(0)) again(job)
    }
    if (left > 0) agenda.add(now + (replica.dead ? DEAD : ALIVE), () => flap(replica))
  }

  const probe = (): void => {
    for (const replica of replicas) {
      const at = now * 1000
      if (replica.dead) replica.health = afterBadProbe(replica.health, 'eject', 'refused', at, rules)
      else {
        replica.health = afterGoodProbe(replica.health, at, rules)
        if (trialDue(replica.health, true, at, rules)) replica.health = afterSuccess(beginTrial(replica.health), at)
      }
    }
    if (left > 0) agenda.add(now + PROBE_EVERY, probe)
  }

  // Speech of 1 to 30 s, log-normal around 6 s.
  const speech = (): number => Math.min(30, Math.max(1, 6 * Math.exp(0.7 * normal(random))))
  const mean = FIRST_AUDIO + PER_SECOND * 7.4
  const rate = (LOAD * SLOTS * count) / mean
  let at = 0
  for (let number = 0; number < jobs; number += 1) {
    // Bursts: five seconds at three times the rate, then ten at none.
    const pause = -Math.log(1 - random()) / (bursty ? 3 * rate : rate)
    at += pause
    const arrived = bursty ? Math.floor(at / 5) * 15 + (at % 5) : at
    agenda.add(arrived, () => place({ arrived: now, work: PER_SECOND * speech(), tries: 0 }))
  }
  for (const replica of replicas) if (replica.flaps) agenda.add(ALIVE, () => flap(replica))
  agenda.add(0, probe)
  for (let next = agenda.next(); next; next = agenda.next()) {
    now = next.at
    next.run()
  }
  return { firstAudio, moved, failed }
}

/** Standard normal, by Box and Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

export const benchmark: Benchmark = {
  name: 'cluster-simulation',
  title:
    'time to first audio by how replicas are chosen: one of them 3 times slower, one dead 20 s of every 80 (simulated)',
  async run({ quick }) {
    const rows: Row[] = []
    for (const count of quick ? [8] : [8, 16, 32, 64]) {
      for (const bursty of [false, true]) {
        for (const strategy of ['least-pending', 'two-choices', 'round-robin', 'random'] as const) {
          const { firstAudio, moved, failed } = simulate(count, strategy, bursty, (quick ? 500 : 2500) * count)
          const sorted = firstAudio.toSorted((a, b) => a - b)
          rows.push({
            case: `${count} replicas, ${bursty ? 'bursts' : 'Poisson'}, ${strategy}`,
            'first audio p50 s': round(quantile(sorted, 0.5)),
            'p99 s': round(quantile(sorted, 0.99)),
            'moved %': round((100 * moved) / (firstAudio.length + failed)),
            'failed %': round((100 * failed) / (firstAudio.length + failed)),
          })
        }
      }
    }
    return rows
  },
}
