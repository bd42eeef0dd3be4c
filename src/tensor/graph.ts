/**
 * A graph that is ready to run.
 *
 * In: a function that describes the computation with a {@link GraphBuilder} and returns its outputs by name. Out:
 * `run`, which takes inputs and resolves to outputs as typed arrays. Setting inputs, computing and reading outputs are
 * one job of the backend's queue, so concurrent runs cannot mix. Graphs compute on worker threads, and the event loop
 * stays free. Only brief graphs ({@link BRIEF_MS}) compute in the calling thread, where starting a worker would take
 * as long as the computation.
 */

import { computeGraph, type Backend, type GraphKind } from './backend.ts'
import { TensorError } from './errors.ts'
import { fromHalfArray, toHalfArray } from './float16.ts'
import { GraphBuilder } from './graph-builder.ts'
import { callAsync, type Address } from './native.ts'
import { DEFAULT_NODES, Scratch } from './scratch.ts'
import { describe, elementCount, type Tensor } from './tensor.ts'
import { bytesOf, type TypedArray } from './tensor-buffer.ts'

/** f32: Float32Array; f16: Float32Array or bit patterns in a Uint16Array; i32: Int32Array; i64: BigInt64Array. */
export type InputData = Float32Array | Uint16Array | Int32Array | BigInt64Array
export type Inputs = Readonly<Record<string, InputData>>

/** Results as typed arrays, contiguous dimension first: i32 tensors as Int32Array, all others as Float32Array. */
export type Outputs<O> = { -readonly [K in keyof O]: O[K] extends Tensor<'i32'> ? Int32Array : Float32Array }
export type OutputTensors = Readonly<Record<string, Tensor<'f32' | 'f16' | 'i32'>>>

export interface GraphOptions {
  /** Maximum number of tensors in the graph. Default 8192. */
  readonly maxNodes?: number
}

export interface RunOptions {
  /** Stops the computation; `run` rejects with its reason. */
  readonly signal?: AbortSignal
  /**
   * On a parallel backend, called when the computation is due: whether it uses all threads. See {@link
   * Backend.enqueue}.
   */
  readonly useAllThreads?: () => boolean
  /**
   * Arrays for f32 outputs, by name, instead of new ones: large arrays that are soon forgotten keep the garbage
   * collector busy.
   */
  readonly into?: Readonly<Record<string, Float32Array>>
}

/** Bytes from which inputs and outputs are copied on a worker thread. */
const LARGE_COPY = 1 << 21
/** Mean floating-point operations per graph node above which operations count as long. */
const LONG_OPERATION = 2e8
/** Graphs that take fewer milliseconds compute in the calling thread. */
const BRIEF_MS = 1
/** A brief graph that takes more milliseconds is computed on worker threads from then on. */
const NOT_BRIEF_MS = 4

/**
 * Builds a graph with its own working memory. For graphs of many shapes use `GraphCache`. Throws {@link TensorError}
 * for wrong shapes or types, more tensors than `maxNodes`, or too little memory.
 */
export function buildGraph<O extends OutputTensors>(
  backend: Backend,
  build: (g: GraphBuilder) => O,
  options: GraphOptions = {},
): Graph<O> {
  const scratch = new Scratch(backend, options.maxNodes)
  try {
    return new Graph(backend, scratch, build, options, true)
  } catch (error) {
    scratch[Symbol.dispose]()
    throw error
  }
}

/** See the file header. */
export class Graph<O extends OutputTensors = OutputTensors> implements Disposable {
  /** Number of operations in the graph. */
  readonly nodes: number
  #generation: number
  #allocated: boolean
  readonly #backend: Backend
  readonly #scratch: Scratch
  readonly #ownsScratch: boolean
  readonly #inputs: ReadonlyMap<string, Tensor>
  readonly #outputs: O
  readonly #graph: Address
  readonly #kind: GraphKind
  #context: Address | null
  readonly #contextBytes: number
  /** Milliseconds of the fastest computation since the graph was last not brief. */
  #fastest = Infinity

  /** @internal Use {@link buildGraph} or `GraphCache`. */
  constructor(
    backend: Backend,
    scratch: Scratch,
    build: (g: GraphBuilder) => O,
    options: GraphOptions,
    ownsScratch: boolean,
  ) {
    const { native } = backend
    const limit = options.maxNodes ?? DEFAULT_NODES
    this.#backend = backend
    this.#scratch = scratch
    this.#ownsScratch = ownsScratch
    this.#contextBytes =
      Number(native.tensor_overhead()) * limit + Number(native.graph_overhead_custom(limit, false)) + 4096
    const context = backend.newContext(this.#contextBytes)
    try {
      const graph = native.new_graph_custom(context, limit, false)
      if (graph === null) throw new TensorError('out of memory for a graph')
      const builder = new GraphBuilder(backend, context, graph, limit)
      const described = build(builder)
      const outputs: Record<string, Tensor> = {}
      for (const [name, tensor] of Object.entries(described)) outputs[name] = builder.output(tensor)
      // Only tensors in the graph get memory, and an input that no operation reads would not be in it.
      for (const input of builder.inputs.values()) native.build_forward_expand(graph, input.handle)
      this.#outputs = outputs as unknown as O
      this.#inputs = builder.inputs
      this.#graph = graph
      this.nodes = native.graph_n_nodes(graph)
      this.#kind = {
        repeatable: builder.repeatable,
        longOperations: builder.work > LONG_OPERATION * this.nodes,
      }
      for (const tensor of Object.values(outputs)) scratch.preferDevice(tensor.handle)
      // A scheduler synchronises its devices while it allocates, which deadlocks when another graph runs: allocate
      // later.
      this.#allocated = scratch.scheduler === null
      if (this.#allocated) scratch.allocate(graph)
      this.#generation = scratch.generation
      this.#context = context
    } catch (error) {
      backend.freeContext(context, this.#contextBytes)
      throw error
    }
  }

  /** @internal After a run: names of outputs that the CPU computes because the device cannot. */
  get cpuFallbacks(): readonly string[] {
    return Object.entries(this.#outputs)
      .filter(([, tensor]) => !this.#scratch.onDevice(tensor.handle))
      .map(([name]) => name)
  }

  /** @internal Whether its working memory has moved, because a larger graph was allocated. */
  get stale(): boolean {
    return this.#generation !== this.#scratch.generation
  }

  /**
   * Runs the graph. `inputs` has every declared input with its size and type, and no others. The arrays must not change
   * until the promise settles. Rejects with {@link TensorError}, or with the signal's reason when aborted.
   */
  run(inputs: Inputs, options: RunOptions = {}): Promise<Outputs<O>> {
    const { signal, useAllThreads, into } = options
    try {
      this.check(inputs, into)
    } catch (error) {
      return Promise.reject(error as Error)
    }
    return this.#backend.enqueue(() => this.runInJob(inputs, signal, into), signal, useAllThreads)
  }

  /** @internal Throws {@link TensorError} unless the inputs are what the graph declares. */
  check(inputs: Inputs, into: RunOptions['into'] = {}): void {
    for (const [name, tensor] of this.#inputs) {
      const data = inputs[name]
      if (data === undefined) throw new TensorError(`input ${describe(tensor)} is missing`)
      if (!accepts(tensor, data)) {
        throw new TensorError(
          `input ${describe(tensor)} cannot take ${data.constructor.name} of ${data.length} elements`,
        )
      }
    }
    for (const name of Object.keys(inputs)) {
      if (!this.#inputs.has(name))
        throw new TensorError(`the graph has no input ${name}; it has ${[...this.#inputs.keys()].join(', ')}`)
    }
    for (const [name, array] of Object.entries(into)) {
      const tensor = this.#outputs[name]
      if (tensor?.type !== 'f32' || elementCount(tensor) !== array.length)
        throw new TensorError(
          `an array of ${array.length} elements is given for ${tensor ? describe(tensor) : `an unknown output, ${name}`}`,
        )
    }
  }

  /** @internal As {@link run}, inside a job of the backend's queue. */
  async runInJob(inputs: Inputs, signal?: AbortSignal, into: RunOptions['into'] = {}): Promise<Outputs<O>> {
    if (this.#context === null) throw new TensorError('the graph is disposed')
    if (!this.#allocated) {
      this.#scratch.allocate(this.#graph)
      this.#generation = this.#scratch.generation
      this.#allocated = true
    }
    if (this.stale) throw new TensorError('the graph is stale: a larger graph uses its working memory; build it again')
    const { native } = this.#backend
    for (const [name, tensor] of this.#inputs) {
      const input = inputs[name]
      if (input === undefined) throw new TensorError(`input ${name} is missing`)
      const data: TypedArray = tensor.type === 'f16' && input instanceof Float32Array ? toHalfArray(input) : input
      if (data.byteLength < LARGE_COPY) native.backend_tensor_set(tensor.handle, data, 0, data.byteLength)
      else await callAsync(native.backend_tensor_set, tensor.handle, data, 0, data.byteLength)
    }
    await this.#backend.runNative(this.#kind, () => this.#compute(), this.#isBrief, signal)
    const results: Record<string, Float32Array | Int32Array> = {}
    for (const [name, tensor] of Object.entries(this.#outputs)) results[name] = await this.#read(tensor, into[name])
    return results as Outputs<O>
  }

  /** Whether it computes in the calling thread. */
  get #isBrief(): boolean {
    return this.#scratch.scheduler === null && this.#fastest < BRIEF_MS
  }

  #compute(): Promise<number> | number {
    const { scheduler } = this.#scratch
    const startedAt = performance.now()
    if (this.#isBrief) {
      const status = computeGraph(this.#backend, this.#graph, true)
      if (performance.now() - startedAt > NOT_BRIEF_MS) this.#fastest = Infinity
      return status
    }
    const computation =
      scheduler === null
        ? computeGraph(this.#backend, this.#graph, false)
        : callAsync(this.#backend.native.backend_sched_graph_compute, scheduler, this.#graph)
    return Promise.resolve(computation).then((status) => {
      if (status === 0) this.#fastest = Math.min(this.#fastest, performance.now() - startedAt)
      return status
    })
  }

  async #read(tensor: Tensor, given?: Float32Array): Promise<Float32Array | Int32Array> {
    const { native } = this.#backend
    const count = elementCount(tensor)
    const values =
      given ??
      (tensor.type === 'i32'
        ? new Int32Array(count)
        : tensor.type === 'f16'
          ? new Uint16Array(count)
          : new Float32Array(count))
    if (values.byteLength < LARGE_COPY) native.backend_tensor_get(tensor.handle, values, 0, values.byteLength)
    else await callAsync(native.backend_tensor_get, tensor.handle, values, 0, values.byteLength)
    return values instanceof Uint16Array ? fromHalfArray(values) : values
  }

  [Symbol.dispose](): void {
    if (this.#context === null) return
    const context = this.#context
    this.#context = null
    this.#backend.release(() => {
      this.#backend.freeContext(context, this.#contextBytes)
      if (this.#ownsScratch) this.#scratch[Symbol.dispose]()
    })
  }
}

/** Whether an array has the type and size of an input. */
function accepts(tensor: Tensor, data: InputData): boolean {
  const count = elementCount(tensor)
  if (tensor.type === 'f16' && data instanceof Float32Array) return data.length === count
  const sameType =
    (tensor.type === 'f32' && data instanceof Float32Array) ||
    (tensor.type === 'f16' && data instanceof Uint16Array) ||
    (tensor.type === 'i32' && data instanceof Int32Array) ||
    (tensor.type === 'i64' && data instanceof BigInt64Array)
  return sameType && data.byteLength === bytesOf(tensor)
}
