/**
 * A graph ready to run, and a cache of graphs that share their working memory.
 *
 * In: a function that describes the computation with a {@link GraphBuilder} and returns its outputs by name. Out:
 * `run`, which takes the inputs as typed arrays and resolves to the outputs as typed arrays. Setting inputs, computing
 * and reading outputs happen as one job of the backend's queue, so concurrent runs cannot mix. The computation is on
 * worker threads; the event loop stays free. Only a graph that has taken less than {@link BRIEF} computes in the
 * calling thread: handing it over would take as long, and much longer where other threads keep the processors busy.
 */

import { computeGraph, type Backend, type GraphKind } from './backend.ts'
import { TensorError } from './errors.ts'
import { fromHalfArray, toHalfArray } from './float16.ts'
import { GraphBuilder } from './graph-builder.ts'
import { DEFAULT_NODES, Scratch } from './scratch.ts'
import { callAsync, type Address } from './native.ts'
import { describe, elementCount, type Tensor } from './tensor.ts'
import { bytesOf, type TypedArray } from './tensor-buffer.ts'

/** f32: Float32Array; f16: Float32Array or bit patterns in a Uint16Array; i32: Int32Array; i64: BigInt64Array. */
export type InputData = Float32Array | Uint16Array | Int32Array | BigInt64Array
export type Inputs = Readonly<Record<string, InputData>>

/** Results as typed arrays, contiguous dimension first: i32 tensors as Int32Array, all others as Float32Array. */
export type Outputs<O> = { -readonly [K in keyof O]: O[K] extends Tensor<'i32'> ? Int32Array : Float32Array }
export type OutputTensors = Readonly<Record<string, Tensor<'f32' | 'f16' | 'i32'>>>

export interface GraphOptions {
  /** Most tensors in the graph. Default 8192. */
  readonly maxNodes?: number
}

export interface RunOptions {
  /** Stops the computation; `run` rejects with its reason. */
  readonly signal?: AbortSignal
  /**
   * On a parallel backend, asked when the computation's turn comes: whether it takes all threads. See {@link
   * Backend.enqueue}.
   */
  readonly alone?: () => boolean
}

const LARGE = 1 << 21
/** Floating-point operations per graph node above which a node is long. */
const COARSE = 2e8
/** Milliseconds below which a graph is not worth a worker thread. */
const BRIEF = 1
/** Milliseconds above which a brief graph stops being one. */
const LATE = 4

/** Builds a graph with working memory of its own. For one that runs with many shapes see {@link GraphCache}. */
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
  /** Operations in the graph. */
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
  /** Milliseconds of its fastest recent computation. */
  #quickest = Infinity

  /** @internal Use {@link buildGraph} or {@link GraphCache}. */
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
      // An input that no operation reads is not part of the graph, so it would get no memory.
      for (const input of builder.inputs.values()) native.build_forward_expand(graph, input.handle)
      this.#outputs = outputs as unknown as O
      this.#inputs = builder.inputs
      this.#graph = graph
      this.nodes = native.graph_n_nodes(graph)
      this.#kind = { repeatable: builder.repeatable, coarse: builder.work > COARSE * this.nodes }
      for (const tensor of Object.values(outputs)) scratch.preferDevice(tensor.handle)
      // A scheduler waits for its devices while it allocates; if another thread computes there, both wait for ever.
      this.#allocated = scratch.scheduler === null
      if (this.#allocated) scratch.allocate(graph)
      this.#generation = scratch.generation
      this.#context = context
    } catch (error) {
      backend.freeContext(context, this.#contextBytes)
      throw error
    }
  }

  /** @internal Names of outputs that the CPU computes in the device's place. Known once it has run. */
  get onProcessor(): readonly string[] {
    return Object.entries(this.#outputs)
      .filter(([, tensor]) => !this.#scratch.onDevice(tensor.handle))
      .map(([name]) => name)
  }

  /** @internal Whether its working memory was given to a larger graph. */
  get stale(): boolean {
    return this.#generation !== this.#scratch.generation
  }

  /**
   * Runs the graph. All inputs must be given, exactly by their declared names, sizes and types; TensorError otherwise.
   * Arrays must not change until the promise settles.
   */
  run(inputs: Inputs, options: RunOptions = {}): Promise<Outputs<O>> {
    const { signal, alone } = options
    try {
      this.check(inputs)
    } catch (error) {
      return Promise.reject(error as Error)
    }
    return this.#backend.enqueue(() => this.runNow(inputs, signal), signal, alone)
  }

  /** @internal Throws unless the inputs are what the graph declares. */
  check(inputs: Inputs): void {
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
  }

  /** @internal Inside a job of the backend's queue. */
  async runNow(inputs: Inputs, signal?: AbortSignal): Promise<Outputs<O>> {
    if (this.#context === null) throw new TensorError('the graph is disposed')
    if (!this.#allocated) {
      this.#scratch.allocate(this.#graph)
      this.#generation = this.#scratch.generation
      this.#allocated = true
    }
    if (this.stale) throw new TensorError('the graph lost its working memory to a larger one')
    const { native } = this.#backend
    for (const [name, tensor] of this.#inputs) {
      const given = inputs[name]
      if (given === undefined) throw new TensorError(`input ${name} is missing`)
      const data: TypedArray = tensor.type === 'f16' && given instanceof Float32Array ? toHalfArray(given) : given
      if (data.byteLength < LARGE) native.backend_tensor_set(tensor.handle, data, 0, data.byteLength)
      else await callAsync(native.backend_tensor_set, tensor.handle, data, 0, data.byteLength)
    }
    await this.#backend.runNative(this.#kind, () => this.#compute(), this.#brief, signal)
    const results: Record<string, Float32Array | Int32Array> = {}
    for (const [name, tensor] of Object.entries(this.#outputs)) results[name] = await this.#read(tensor)
    return results as Outputs<O>
  }

  /** Whether it computes in the calling thread. */
  get #brief(): boolean {
    return this.#scratch.scheduler === null && this.#quickest < BRIEF
  }

  #compute(): Promise<number> | number {
    const { scheduler } = this.#scratch
    const begun = performance.now()
    if (this.#brief) {
      const status = computeGraph(this.#backend, this.#graph, true)
      if (performance.now() - begun > LATE) this.#quickest = Infinity
      return status
    }
    const computing =
      scheduler === null
        ? computeGraph(this.#backend, this.#graph, false)
        : callAsync(this.#backend.native.backend_sched_graph_compute, scheduler, this.#graph)
    return Promise.resolve(computing).then((status) => {
      if (status === 0) this.#quickest = Math.min(this.#quickest, performance.now() - begun)
      return status
    })
  }

  async #read(tensor: Tensor): Promise<Float32Array | Int32Array> {
    const { native } = this.#backend
    const count = elementCount(tensor)
    const values =
      tensor.type === 'i32'
        ? new Int32Array(count)
        : tensor.type === 'f16'
          ? new Uint16Array(count)
          : new Float32Array(count)
    if (values.byteLength < LARGE) native.backend_tensor_get(tensor.handle, values, 0, values.byteLength)
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

function accepts(tensor: Tensor, data: InputData): boolean {
  const count = elementCount(tensor)
  if (tensor.type === 'f16' && data instanceof Float32Array) return data.length === count
  const fits =
    (tensor.type === 'f32' && data instanceof Float32Array) ||
    (tensor.type === 'f16' && data instanceof Uint16Array) ||
    (tensor.type === 'i32' && data instanceof Int32Array) ||
    (tensor.type === 'i64' && data instanceof BigInt64Array)
  return fits && data.byteLength === bytesOf(tensor)
}
