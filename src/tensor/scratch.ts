/**
 * Working memory of graphs: activations, inputs and outputs.
 *
 * On the CPU many graphs share one allocator, because only one of them runs at a time. When a larger graph makes it
 * grow, the memory moves and earlier graphs are stale: `generation` changes, and `GraphCache` rebuilds them. On a GPU
 * each graph has its own scheduler, which runs operations that the GPU does not support on the CPU.
 */

import type { Backend } from './backend.ts'
import { TensorError } from './errors.ts'
import type { Address } from './native.ts'

/** Default of `maxNodes`: the maximum number of tensors in a graph. */
export const DEFAULT_NODES = 8192

export class Scratch implements Disposable {
  readonly #backend: Backend
  readonly #allocator: Address | null
  /** @internal */
  readonly scheduler: Address | null
  #generation = 0
  #bytes = 0
  #disposed = false

  /** `maxNodes`: tensors in the largest graph; a scheduler ends the process when a graph has more. */
  constructor(backend: Backend, maxNodes = DEFAULT_NODES) {
    const { native } = backend
    this.#backend = backend
    if (backend.backends.length === 1) {
      this.#allocator = native.gallocr_new(backend.bufferType)
      this.scheduler = null
    } else {
      this.#allocator = null
      this.scheduler = native.backend_sched_new(
        new BigUint64Array(backend.backends),
        null,
        backend.backends.length,
        // Weights and caches count too; there are at most as many as operations that read them.
        2 * maxNodes,
        false,
        true,
      )
    }
    if (this.#allocator === null && this.scheduler === null) throw new TensorError('out of memory for an allocator')
    backend.account(0, 1)
  }

  /** Whether several graphs can use it. */
  get shared(): boolean {
    return this.#allocator !== null
  }

  /** Changes when the memory moves. */
  get generation(): number {
    return this.#generation
  }

  /** Bytes of working memory. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Makes a scheduler compute an output, and the operations before it, on the device where possible. By default a graph
   * without weights runs on the CPU, where its inputs are.
   */
  preferDevice(tensor: Address): void {
    const { native, backends } = this.#backend
    const [device] = backends
    if (this.scheduler === null || device === undefined || !native.backend_supports_op(device, tensor)) return
    native.backend_sched_set_tensor_backend(this.scheduler, tensor, device)
  }

  /** Whether the tensor is computed on the device. */
  onDevice(tensor: Address): boolean {
    const { native, backends } = this.#backend
    return this.scheduler === null || native.backend_sched_get_tensor_backend(this.scheduler, tensor) === backends[0]
  }

  /**
   * Allocates the memory of a graph's tensors. Must not be called while a graph with this memory runs. Throws
   * {@link TensorError} when out of memory.
   */
  allocate(graph: Address): void {
    const { native } = this.#backend
    const allocated =
      this.#allocator !== null
        ? native.gallocr_alloc_graph(this.#allocator, graph)
        : this.scheduler !== null && native.backend_sched_alloc_graph(this.scheduler, graph)
    const bytes = this.#measure()
    if (bytes !== this.#bytes) {
      this.#backend.account(bytes - this.#bytes, 0)
      this.#bytes = bytes
      this.#generation++
    }
    if (!allocated)
      throw new TensorError(`out of memory on ${this.#backend.deviceName} for the working memory of a graph`)
    this.#backend.checkReserve()
  }

  #measure(): number {
    const { native, backends } = this.#backend
    if (this.#allocator !== null) return Number(native.gallocr_get_buffer_size(this.#allocator, 0))
    const scheduler = this.scheduler
    if (scheduler === null) return 0
    return backends.reduce((sum, backend) => sum + Number(native.backend_sched_get_buffer_size(scheduler, backend)), 0)
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    if (this.#allocator !== null) this.#backend.native.gallocr_free(this.#allocator)
    if (this.scheduler !== null) this.#backend.native.backend_sched_free(this.scheduler)
    this.#backend.account(-this.#bytes, -1)
  }
}
