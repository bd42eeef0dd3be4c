/**
 * Working memory of graphs: activations, inputs and outputs.
 *
 * On the CPU many graphs share one allocator, because only one of them runs at a time: their results overlap in memory.
 * When a larger graph makes it grow, the memory moves, and earlier graphs are stale: `generation` counts that, and
 * {@link GraphCache} rebuilds them. A GPU graph has a scheduler of its own, which hands operations that
 * the device cannot run to the CPU.
 */

import type { Backend } from './backend.ts'
import { TensorError } from './errors.ts'
import type { Address } from './native.ts'

/** Most tensors in a graph that sets no limit. */
export const DEFAULT_NODES = 8192

export class Scratch implements Disposable {
  readonly #backend: Backend
  readonly #allocator: Address | null
  /** @internal */
  readonly scheduler: Address | null
  #generation = 0
  #bytes = 0
  #disposed = false

  /** `maxNodes`: tensors made in the largest graph; a scheduler ends the process when a graph has more. */
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
        // Weights and caches count, too; each is read by an operation that counts already.
        2 * maxNodes,
        false,
        true,
      )
    }
    if (this.#allocator === null && this.scheduler === null) throw new TensorError('out of memory for an allocator')
    backend.account(0, 1)
  }

  /** Whether several graphs may use it. */
  get shared(): boolean {
    return this.#allocator !== null
  }

  get generation(): number {
    return this.#generation
  }

  /** Bytes of working memory. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Asks a scheduler to compute an output, and so what leads to it, on the device where possible. Otherwise a graph
   * that reads no weight runs on the CPU, where its inputs are.
   */
  preferDevice(tensor: Address): void {
    const { native, backends } = this.#backend
    const [device] = backends
    if (this.scheduler === null || device === undefined || !native.backend_supports_op(device, tensor)) return
    native.backend_sched_set_tensor_backend(this.scheduler, tensor, device)
  }

  /** Whether a scheduler computes the tensor on the device. */
  onDevice(tensor: Address): boolean {
    const { native, backends } = this.#backend
    return this.scheduler === null || native.backend_sched_get_tensor_backend(this.scheduler, tensor) === backends[0]
  }

  /** Gives the graph's tensors their memory. Never while a graph with this memory runs. */
  allocate(graph: Address): void {
    const { native } = this.#backend
    const done =
      this.#allocator !== null
        ? native.gallocr_alloc_graph(this.#allocator, graph)
        : this.scheduler !== null && native.backend_sched_alloc_graph(this.scheduler, graph)
    const bytes = this.#measure()
    if (bytes !== this.#bytes) {
      this.#backend.account(bytes - this.#bytes, 0)
      this.#bytes = bytes
      this.#generation++
    }
    if (!done) throw new TensorError(`out of memory on ${this.#backend.deviceName} for the working memory of a graph`)
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
