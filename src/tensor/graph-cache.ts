/**
 * Cache of graphs by key, with shared working memory: a graph is built once for (tokens, cache bucket), and run often.
 *
 * In: a key that names everything the graph's description depends on (shapes, and which caches it reads), the
 * description, the inputs. Out: the outputs. The least recently used graphs are dropped.
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
  /** Most graphs in the cache. Default 32. */
  readonly capacity?: number
}

export interface CachedRunOptions extends RunOptions {
  /** In place of the cache's own `maxNodes`, for a graph that grows with its batch. */
  readonly maxNodes?: number
}

export class GraphCache implements Disposable {
  readonly #backend: Backend
  readonly #options: GraphCacheOptions
  /** Absent on a GPU, where each graph has a scheduler of its own. */
  readonly #scratch: Scratch | undefined
  readonly #graphs = new Map<string, Graph>()
  #disposed = false
  #built = 0

  constructor(backend: Backend, options: GraphCacheOptions = {}) {
    this.#backend = backend
    this.#options = options
    this.#scratch = backend.backends.length === 1 ? new Scratch(backend) : undefined
  }

  /** Graphs built so far: stays put while keys repeat. */
  get built(): number {
    return this.#built
  }

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
        graph.check(inputs)
        return graph.runNow(inputs, options.signal)
      },
      options.signal,
      options.alone,
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
      return await graph.runNow(inputs, options.signal)
    }, options.signal)
  }

  /** Drops graphs whose key matches, such as those that read a cache about to be released. */
  forget(matches: (key: string) => boolean): void {
    for (const [key, graph] of this.#graphs) {
      if (!matches(key)) continue
      this.#graphs.delete(key)
      graph[Symbol.dispose]()
    }
  }

  #get<O extends OutputTensors>(key: string, build: (g: GraphBuilder) => O, maxNodes?: number): Graph<O> {
    const known = this.#graphs.get(key)
    if (known && !known.stale) {
      this.#graphs.delete(key)
      this.#graphs.set(key, known)
      return known as unknown as Graph<O>
    }
    if (known) {
      this.#graphs.delete(key)
      known[Symbol.dispose]()
    }
    const graph = this.#build(build, maxNodes)
    this.#graphs.set(key, graph as unknown as Graph)
    for (const [oldest, old] of this.#graphs) {
      if (!old.stale && this.#graphs.size <= (this.#options.capacity ?? 32)) continue
      if (oldest === key) continue
      this.#graphs.delete(oldest)
      old[Symbol.dispose]()
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
    this.forget(() => true)
    this.#backend.release(() => this.#scratch?.[Symbol.dispose]())
  }
}
