/**
 * A cache of graphs by key, with shared working memory: a graph is built once for its shapes and run many times.
 *
 * In: a key that names everything the graph's description depends on (shapes, and which caches it reads), the
 * description, the inputs. Out: the outputs. The least recently used graphs are evicted.
 */

import type { Backend } from './backend.ts'
import {
  buildGraph,
  Graph,
  type GraphOptions,
  type Inputs,
  type Outputs,
  type OutputTensors,
  type RunOptions,
} from './graph.ts'
import type { GraphBuilder } from './graph-builder.ts'
import { Scratch } from './scratch.ts'

export interface GraphCacheOptions extends GraphOptions {
  /** Maximum number of graphs in the cache. Default 32. */
  readonly capacity?: number
}

export interface CachedRunOptions extends RunOptions {
  /** Overrides the cache's `maxNodes`, for a graph that grows with its batch. */
  readonly maxNodes?: number
}

export class GraphCache implements Disposable {
  readonly #backend: Backend
  readonly #options: GraphCacheOptions
  /** Absent on a GPU, where each graph has its own scheduler. */
  readonly #scratch: Scratch | undefined
  readonly #graphs = new Map<string, Graph>()
  #disposed = false
  #built = 0

  constructor(backend: Backend, options: GraphCacheOptions = {}) {
    this.#backend = backend
    this.#options = options
    this.#scratch = backend.backends.length === 1 ? new Scratch(backend) : undefined
  }

  /** Number of graphs built so far. */
  get built(): number {
    return this.#built
  }

  /** Number of graphs in the cache. */
  get size(): number {
    return this.#graphs.size
  }

  /** Bytes of working memory shared by the graphs. */
  get scratchBytes(): number {
    return this.#scratch?.bytes ?? 0
  }

  /**
   * Runs the graph of `key`, and builds it first if it is not cached. `build` must depend on nothing that `key`
   * does not name. Rejects with TensorError on wrong shapes or inputs, with the signal's reason when aborted.
   */
  run<O extends OutputTensors>(
    key: string,
    build: (g: GraphBuilder) => O,
    inputs: Inputs,
    options: CachedRunOptions = {},
  ): Promise<Outputs<O>> {
    return this.#backend.enqueue(
      () => {
        const graph = this.#get(key, build, options.maxNodes)
        graph.check(inputs, options.into)
        return graph.runInJob(inputs, options.signal, options.into)
      },
      options.signal,
      options.useAllThreads,
    )
  }

  /** As {@link run}, for a graph that is used once and not cached. */
  runOnce<O extends OutputTensors>(
    build: (g: GraphBuilder) => O,
    inputs: Inputs,
    options: CachedRunOptions = {},
  ): Promise<Outputs<O>> {
    return this.#backend.enqueue(async () => {
      using graph = this.#build(build, options.maxNodes)
      graph.check(inputs)
      return await graph.runInJob(inputs, options.signal)
    }, options.signal)
  }

  /** Evicts graphs whose key matches, such as those that read a KV cache that is about to be freed. */
  evict(matches: (key: string) => boolean): void {
    for (const [key, graph] of this.#graphs) {
      if (!matches(key)) continue
      this.#graphs.delete(key)
      graph[Symbol.dispose]()
    }
  }

  #get<O extends OutputTensors>(key: string, build: (g: GraphBuilder) => O, maxNodes?: number): Graph<O> {
    const cached = this.#graphs.get(key)
    if (cached && !cached.stale) {
      // Last in the map: most recently used.
      this.#graphs.delete(key)
      this.#graphs.set(key, cached)
      return cached as unknown as Graph<O>
    }
    if (cached) {
      this.#graphs.delete(key)
      cached[Symbol.dispose]()
    }
    const graph = this.#build(build, maxNodes)
    this.#graphs.set(key, graph as unknown as Graph)
    for (const [otherKey, other] of this.#graphs) {
      if (!other.stale && this.#graphs.size <= (this.#options.capacity ?? 32)) continue
      if (otherKey === key) continue
      this.#graphs.delete(otherKey)
      other[Symbol.dispose]()
    }
    return graph
  }

  #build<O extends OutputTensors>(build: (g: GraphBuilder) => O, maxNodes?: number): Graph<O> {
    const options = maxNodes === undefined ? this.#options : { ...this.#options, maxNodes }
    this.#built++
    return this.#scratch
      ? new Graph(this.#backend, this.#scratch, build, options, false)
      : buildGraph(this.#backend, build, options)
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    this.evict(() => true)
    this.#backend.release(() => this.#scratch?.[Symbol.dispose]())
  }
}
