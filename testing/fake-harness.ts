/**
 * Common parts of fake stages: each runs alone, after a delay that ends early when aborted, fails on request, and
 * counts live objects.
 */

import { EngineError } from '../src/contract/index.ts'
import type { MemoryBudget } from '../src/models/memory-budget.ts'
import type { StageSequence } from '../src/models/stages.ts'

export type FakeStageName = 'thinker' | 'talker' | 'codePredictor' | 'vocoder' | 'audioEncoder'

export class FakeHarness {
  sequences = 0
  streams = 0
  readonly calls = new Map<string, number>()
  /** Frames of each piece of the vocoder's input, and whether the call used all threads. */
  readonly decoded: { frames: number; usedAllThreads: boolean }[] = []
  /** Serialised work. The vocoder runs in parallel to the others, on one piece of a reply at a time. */
  readonly #inTurn = {}
  readonly #busy = new Map<object, string>()
  readonly #failIn: { stage: FakeStageName; after?: number } | undefined

  constructor(failIn: { stage: FakeStageName; after?: number } | undefined) {
    this.#failIn = failIn
  }

  async stage<T>(
    name: string,
    delay: number,
    signal: AbortSignal | undefined,
    work: () => T,
    owner: object = this.#inTurn,
  ): Promise<T> {
    const other = this.#busy.get(owner)
    if (other !== undefined) throw new Error(`${name} was called while ${other} ran.`)
    this.#busy.set(owner, name)
    try {
      const count = (this.calls.get(name) ?? 0) + 1
      this.calls.set(name, count)
      await wait(delay, signal)
      signal?.throwIfAborted()
      if (this.#failIn?.stage === name && count > (this.#failIn.after ?? 0)) throw new Error(`${name} broke`)
      return work()
    } finally {
      this.#busy.delete(owner)
    }
  }

  isBusy(owner: object): boolean {
    return this.#busy.has(owner)
  }

  newSequence(capacity: number, budget?: MemoryBudget): FakeSequence {
    this.sequences += 1
    return new FakeSequence(capacity, budget, () => (this.sequences -= 1))
  }
}

/** Tokens that a fake cache grows by. */
export const fakeBlock = 16

export class FakeSequence implements StageSequence {
  ids: number[] = []
  readonly capacity: number
  readonly budget: MemoryBudget | undefined
  readonly onDispose: () => void
  reserved = 0
  disposed = false
  constructor(capacity: number, budget: MemoryBudget | undefined, onDispose: () => void) {
    this.capacity = capacity
    this.budget = budget
    this.onDispose = onDispose
  }
  get length(): number {
    return this.ids.length
  }
  get bytes(): number {
    return this.reserved
  }
  async reserve(tokens: number): Promise<void> {
    await Promise.resolve()
    if (this.disposed) throw new Error('A disposed sequence was given memory.')
    if (tokens > this.capacity) throw new Error('A sequence outgrew its capacity.')
    if (tokens <= this.reserved) return
    const reserved = Math.min(this.capacity, Math.ceil(tokens / fakeBlock) * fakeBlock)
    if (this.budget && !this.budget.acquire(reserved - this.reserved))
      throw new EngineError('overloaded', 'No cache left.')
    this.reserved = reserved
  }
  bytesFor(tokens: number): number {
    return Math.ceil(tokens / fakeBlock) * fakeBlock
  }
  truncate(length: number): void {
    if (length > this.ids.length) throw new Error('A sequence was cut to more than it has.')
    this.ids.length = length
  }
  release(): void {
    if (this.disposed) return
    this.ids = []
    const { reserved } = this
    this.reserved = 0
    this.budget?.release(reserved)
  }
  async copyFrom(source: StageSequence, length: number): Promise<void> {
    await this.reserve(length)
    this.ids = (source as FakeSequence).ids.slice(0, length)
  }
  add(id: number): void {
    if (this.disposed) throw new Error('A disposed sequence was used.')
    if (this.ids.length >= this.reserved) throw new Error('A sequence was written beyond its reserved memory.')
    this.ids.push(id)
  }
  [Symbol.dispose](): void {
    if (this.disposed) return
    this.release()
    this.disposed = true
    this.onDispose()
  }
}

export function hash(values: readonly number[]): number {
  let state = 0x811c9dc5
  for (const value of values) {
    state = Math.imul(state ^ value, 0x01000193)
    state ^= state >>> 15
  }
  return state >>> 0
}

/** The audio of one frame: a ramp from 0 to `height`. */
export function ramp(height: number, samples: number): Float32Array {
  return Float32Array.from({ length: samples }, (_, index) => height * (index / samples))
}

function wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  if (milliseconds <= 0) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, milliseconds)
    signal?.addEventListener('abort', done, { once: true })
  })
}
