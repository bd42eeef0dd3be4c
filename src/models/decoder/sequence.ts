/**
 * One sequence of a decoder stage: its KV cache, its bytes in the memory budget, and the graphs that use it.
 */

import { EngineError } from '../../contract/index.ts'
import { KvCache, type KvCacheOptions } from '../../nn/index.ts'
import { TensorError, type Backend, type GraphCache } from '../../tensor/index.ts'
import type { MemoryBudget } from '../memory-budget.ts'
import type { StageSequence } from '../stages.ts'

export class DecoderSequence implements StageSequence {
  readonly cache: KvCache
  readonly #graphs: GraphCache
  readonly #budget: MemoryBudget | undefined
  /** Bytes acquired from the budget. */
  #taken = 0
  #disposed = false

  /** Creates a sequence without memory; see {@link reserve}. */
  constructor(backend: Backend, graphs: GraphCache, options: KvCacheOptions, budget?: MemoryBudget) {
    this.#graphs = graphs
    this.#budget = budget
    this.cache = new KvCache(backend, options)
  }

  get length(): number {
    return this.cache.length
  }

  get reserved(): number {
    return this.cache.reserved
  }

  get bytes(): number {
    return this.cache.bytes
  }

  async reserve(tokens: number): Promise<void> {
    if (this.#disposed) throw new TypeError('the sequence was disposed')
    const { cache } = this
    const reserved = cache.reservedFor(tokens)
    if (reserved === cache.reserved) return
    const { held, growing } = cache.bytesOf(reserved)
    this.#take(growing, tokens)
    this.#forgetGraphs()
    try {
      await cache.reserve(tokens)
    } catch (error) {
      this.#settle(0)
      if (!(error instanceof TensorError)) throw error
      throw new EngineError(
        'overloaded',
        `the device has no memory for a context of ${tokens} tokens (${mebibytes(held)}); ` +
          'wait for other requests to end or ask for fewer tokens',
        { cause: error },
      )
    }
    this.#settle(held)
  }

  bytesFor(tokens: number): number {
    const { cache } = this
    return cache.bytesOf(tokens <= cache.reserved ? cache.reserved : cache.reservedFor(tokens)).growing
  }

  truncate(length: number): void {
    this.cache.truncate(length)
  }

  release(): void {
    if (this.#disposed) return
    this.#forgetGraphs()
    this.cache.clear()
    this.#settle(0)
  }

  async copyFrom(source: StageSequence, length: number): Promise<void> {
    await this.reserve(length)
    await this.cache.copyFrom(decoderSequence(source).cache, length)
  }

  [Symbol.dispose](): void {
    this.release()
    this.#disposed = true
  }

  /** Acquires memory up to `bytes` in total. Throws `overloaded` with the number of tokens that fit. */
  #take(bytes: number, tokens: number): void {
    const more = bytes - this.#taken
    if (!this.#budget || more <= 0) return
    if (!this.#budget.acquire(more)) {
      const { free, limit } = this.#budget
      throw new EngineError(
        'overloaded',
        `no memory for a context of ${tokens} tokens: it requires ${mebibytes(bytes)}, of which ${mebibytes(more)} are missing, ` +
          `and ${mebibytes(free)} of ${mebibytes(limit)} are free; about ${this.#fitting(free)} tokens would fit now and ` +
          `${this.#fitting(limit - this.#taken)} with nothing else running`,
      )
    }
    this.#taken = bytes
  }

  /** Tokens of context that fit with `bytes` more. */
  #fitting(bytes: number): number {
    const { growing } = this.cache.bytesOf(1)
    return Math.min(this.cache.capacity, Math.floor((bytes + this.#taken) / growing / 256) * 256)
  }

  #settle(bytes: number): void {
    const less = this.#taken - bytes
    this.#taken = bytes
    if (this.#budget) this.#budget.release(less)
  }

  /** Graphs name the caches they read; see `KvStep.key`. */
  #forgetGraphs(): void {
    const reads = new RegExp(`\\bkv${this.cache.id}:`)
    this.#graphs.evict((key) => reads.test(key))
  }
}

function mebibytes(bytes: number): string {
  const size = bytes / 2 ** 20
  return `${size < 10 ? Math.ceil(size * 10) / 10 : Math.ceil(size)} MiB`
}

/** Number of nodes in a decoder step's graph: those shared by the batch, and the attention of each sequence. */
export function stepNodes(layers: number, sequences: number): number {
  return layers * (250 + 24 * sequences) + 2 * sequences + 1000
}

/** Reserves missing memory for a step's tokens. Rejects as {@link DecoderSequence.reserve} does. */
export async function growSequences(
  items: readonly { readonly sequence: StageSequence; readonly tokens: number }[],
): Promise<void> {
  for (const { sequence, tokens } of items) {
    const { length, reserved } = sequence
    if (length + tokens > reserved) await sequence.reserve(length + tokens)
  }
}

/** The implementation of a sequence. Throws for a sequence of another stage. */
export function decoderSequence(sequence: StageSequence): DecoderSequence {
  if (sequence instanceof DecoderSequence) return sequence
  throw new TypeError('a sequence made by another stage was given')
}
