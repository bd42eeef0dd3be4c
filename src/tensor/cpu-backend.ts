/**
 * ggml's CPU backend with lasting thread pools, and a flag that stops a running graph.
 *
 * In: the CPU device and a number of threads. Out: a {@link CpuBackend}. Reference: `ggml-cpu.h`, whose functions the
 * library hands out by name.
 */

import { TensorLibraryError } from './errors.ts'
import { callAddress, pointerAt, type Address, type Native } from './native.ts'

export class CpuBackend implements Disposable {
  /** The `ggml_backend`. */
  readonly handle: Address
  readonly #native: Native
  readonly #device: Address
  readonly #registry: Address
  /** A context that only holds the flag: ggml reads it through `ggml_get_no_alloc`. */
  readonly #abortFlag: Address
  /** By number of threads. */
  readonly #threadPools = new Map<number, Address>()
  #threads = 0

  /** Throws {@link TensorLibraryError} when the backend or its threads cannot be started. */
  constructor(native: Native, device: Address, threads: number) {
    this.#native = native
    this.#device = device
    const registry = native.backend_dev_backend_reg(device)
    if (registry === null) throw new TensorLibraryError('the CPU device has no registry')
    this.#registry = registry
    const abortFlag = native.init(1024, false)
    const handle = native.backend_dev_init(device, null)
    if (abortFlag === null || handle === null)
      throw new TensorLibraryError('the CPU backend could not be started: out of memory')
    this.#abortFlag = abortFlag
    this.handle = handle
    this.useThreads(threads)
    // The callback must be native code: `ggml_get_no_alloc` returns the flag of the context that it is given.
    const predicate = native.symbol('ggml_get_no_alloc')
    callAddress(this.#procedure('ggml_backend_set_abort_callback'), 'v:ppp', handle, predicate, abortFlag)
  }

  /** Threads of the pool in use. */
  get threads(): number {
    return this.#threads
  }

  /** Computes with this many threads from now on. Pools are kept, because ggml would start threads for each graph. */
  useThreads(threads: number): void {
    if (threads === this.#threads) return
    let pool = this.#threadPools.get(threads)
    if (pool === undefined) {
      // An opaque struct: the library fills a buffer that is larger than it.
      const parameters = new Uint8Array(4096)
      this.#native.threadpool_params_init(parameters, threads)
      const created = callAddress(this.#procedure('ggml_threadpool_new'), 'p:d', parameters)
      if (created === null) throw new TensorLibraryError(`${threads} threads could not be started`)
      pool = created
      this.#threadPools.set(threads, pool)
    }
    callAddress(this.#procedure('ggml_backend_set_n_threads'), 'v:pi', this.handle, threads)
    callAddress(this.#procedure('ggml_backend_cpu_set_threadpool'), 'v:pp', this.handle, pool)
    this.#threads = threads
  }

  /** Stops a running graph after its current operation (true), or allows graphs to run (false). */
  setAbort(abort: boolean): void {
    this.#native.set_no_alloc(this.#abortFlag, abort)
  }

  /** Buffer types that repack weights for fast kernels, best first. */
  extraBufferTypes(): Address[] {
    const get = this.#native.backend_reg_get_proc_address(this.#registry, 'ggml_backend_dev_get_extra_bufts')
    if (get === null) return []
    const list = callAddress(get, 'p:p', this.#device)
    const types: Address[] = []
    for (let i = 0; list !== null; i++) {
      const type = pointerAt(list, i)
      if (type === null) break
      types.push(type)
    }
    return types
  }

  /** Once only. */
  [Symbol.dispose](): void {
    this.#native.backend_free(this.handle)
    for (const pool of this.#threadPools.values()) {
      callAddress(this.#procedure('ggml_threadpool_free'), 'v:p', pool)
    }
    this.#threadPools.clear()
    this.#native.free(this.#abortFlag)
  }

  #procedure(name: string): Address {
    const address = this.#native.backend_reg_get_proc_address(this.#registry, name)
    if (address === null) throw new TensorLibraryError(`the CPU backend lacks ${name}`)
    return address
  }
}
