/**
 * One live sequence of a decoder stage: its KV cache, and the graphs that read it.
 */

import { EngineError } from '../../contract/index.ts'
import { KvCache, type KvCacheOptions } from '../../nn/index.ts'
import { TensorError, type Backend, type GraphCache } from '../../tensor/index.ts'
import type { StageSequence } from '../stages.ts'

export class DecoderSequence implements StageSequence {
  readonly cache: KvCache
  readonly #graphs: GraphCache
  #disposed = false

  /** Throws `EngineError('overloaded')` when the cache does not fit in memory. */
  constructor(backend: Backend, graphs: GraphCache, options: KvCacheOptions) {
    this.#graphs = graphs
    try {
      this.cache = new KvCache(backend, options)
    } catch (error) {
      if (!(error instanceof TensorError)) throw error
      throw new EngineError(
        'overloaded',
        `no memory for a context of ${options.capacity} tokens (${Math.ceil(KvCache.bytesFor(options) / 2 ** 20)} MiB); ` +
          'wait for other requests to end or ask for fewer tokens',
        { cause: error },
      )
    }
  }

  get length(): number {
    return this.cache.length
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    // Graphs name the caches they read; see KvStep.key.
    const reads = new RegExp(`\\bkv${this.cache.id}:`)
    this.#graphs.forget((key) => reads.test(key))
    this.cache[Symbol.dispose]()
  }
}

/** Room in the graph of a decoder step: what the batch shares, and the attention of each of its sequences. */
export function stepNodes(layers: number, sequences: number): number {
  return layers * (250 + 24 * sequences) + 2 * sequences + 1000
}

/** The sequence behind the interface; stages take only their own. */
export function decoderSequence(sequence: StageSequence): DecoderSequence {
  if (sequence instanceof DecoderSequence) return sequence
  throw new TypeError('a sequence made by another stage was given')
}
