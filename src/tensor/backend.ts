/**
 * A compute device, ready to run graphs: the CPU with a persistent thread pool, or a GPU.
 *
 * In: device and threads. Out: a {@link Backend} that allocates tensors, runs graphs one after the other on worker
 * threads (the event loop stays free), stops a graph when a signal aborts, and counts the native bytes that live.
 */

import { availableParallelism } from 'node:os'

import { TensorError, TensorLibraryError } from './errors.ts'
import { loadLibrary, packagesFor, type DeviceKind, type Library } from './library.ts'
import { callAddress, callAsync, pointerAt, type Address, type Native } from './native.ts'
import type { GpuPrecision } from './precision.ts'
import { selfTest } from './self-test.ts'
import { ThreadGovernor } from './thread-governor.ts'

export interface BackendOptions {
  /** `auto` takes the best GPU whose package is installed and works, else the CPU. Default `auto`. */
  readonly device?: DeviceKind | 'auto'
  /** Compute threads of the CPU. Default: all cores, 16 at most. */
  readonly threads?: number
  /** Threads of {@link Backend.parallel} in addition to `threads`. Default 0: it takes its threads from those. */
  readonly parallelThreads?: number
  /** How precisely a GPU computes. Default `fast`. */
  readonly precision?: GpuPrecision
  /** Accept a build of the library that the tests did not run with. */
  readonly allowUntested?: boolean
}

/** A device that `auto` tried before the one it took. */
export interface PassedDevice {
  readonly device: DeviceKind
  readonly reason: string
}

/** Native bytes held, by what holds them. */
export interface NativeMemory {
  /** Tensor data: weights, caches, activations. Mapped files are not counted. */
  readonly buffers: number
  /** Records of tensors and graphs. */
  readonly contexts: number
  /** Live native objects: contexts, buffers, allocators. */
  readonly objects: number
}

/** @internal What the choice of threads depends on. */
export interface GraphKind {
  /** Running it twice does what running it once does. */
  readonly repeatable: boolean
  /** Its operations take so long that threads waiting for each other after each lose little. */
  readonly coarse: boolean
}

const STATUS_ABORTED = 1
/** `ggml_backend_dev_type`: a GPU with memory of its own. Others share the machine's. */
const DISCRETE_GPU = 1
/**
 * Bytes that a GPU's graphs may use while they compute (dequantised weights, split sums), in addition to what they are
 * given before.
 */
const GPU_RESERVE = 64e6
/** Of this many brief graphs, one is judged by the governor of threads. */
const JUDGED = 8

/**
 * Loads the library, opens the device and checks that it computes right numbers.
 * Throws TensorLibraryError: package missing, untested version, wrong numbers.
 */
export async function loadBackend(options: BackendOptions = {}): Promise<Backend> {
  const threads = options.threads ?? Math.min(16, availableParallelism())
  if (!Number.isInteger(threads) || threads < 1 || threads > 512) {
    throw new TensorError(`threads must be an integer from 1 to 512, got ${threads}`)
  }
  const wanted = options.device ?? 'auto'
  const order: readonly DeviceKind[] =
    wanted === 'auto'
      ? (['cuda', 'metal', 'vulkan', 'cpu'] as const).filter((kind) => packagesFor(kind).length > 0)
      : [wanted]
  const load = {
    ...(options.allowUntested !== undefined && { allowUntested: options.allowUntested }),
    ...(options.precision !== undefined && { precision: options.precision }),
  }
  const passed: PassedDevice[] = []
  let reason: unknown
  for (const kind of order) {
    let backend: Backend | undefined
    try {
      backend = openBackend(loadLibrary(kind, load), kind, { threads, parallel: options.parallelThreads ?? 0 }, passed)
      await selfTest(backend)
      return backend
    } catch (error) {
      backend?.[Symbol.dispose]()
      // With `auto`, a GPU that is not there is no error; what the CPU says is.
      reason = error
      passed.push({ device: kind, reason: error instanceof Error ? error.message : String(error) })
    }
  }
  throw reason
}

/** Compute threads, and those of the parallel backend that are not taken from them. */
interface Threads {
  readonly threads: number
  readonly parallel: number
}

function openBackend(library: Library, kind: DeviceKind, threads: Threads, passed: readonly PassedDevice[]): Backend {
  const { native } = library
  const cpu = native.backend_dev_by_type(0)
  if (cpu === null)
    throw new TensorLibraryError(`${library.packageName} has no CPU backend that this processor can run`)
  let device: Address | null = null
  if (kind === 'cpu') device = cpu
  else {
    const count = Number(native.backend_dev_count())
    for (let i = 0; i < count && device === null; i++) {
      const candidate = native.backend_dev_get(i)
      if (candidate === null) continue
      const registry = native.backend_dev_backend_reg(candidate)
      const name = registry === null ? '' : native.backend_reg_name(registry).toLowerCase()
      if (name.startsWith(kind === 'metal' ? 'm' : kind) && native.backend_dev_type(candidate) !== 0) device = candidate
    }
  }
  if (device === null) {
    throw new TensorLibraryError(
      `device ${kind}: ${library.packageName} is installed but finds no such device or driver here`,
    )
  }
  return new Backend(library, kind, device, cpu, threads, passed)
}

/** Counters that parallel backends share. */
interface Held {
  buffers: number
  contexts: number
  objects: number
}

/** See the file header. Made by {@link loadBackend}. */
export class Backend implements Disposable {
  readonly library: Library
  readonly kind: DeviceKind
  readonly threads: number
  /** The device as its driver names it. */
  readonly deviceName: string
  /** With `auto`: the devices tried before this one, and why they were not taken. */
  readonly passed: readonly PassedDevice[]
  /** @internal */
  readonly native: Native
  /** @internal The device's default buffers. */
  readonly bufferType: Address
  /** @internal Buffer types that rearrange weights for speed (CPU only), best first. */
  readonly extraBufferTypes: readonly Address[]
  /** @internal Device and, where it is no CPU, the CPU that takes what the device cannot run. */
  readonly backends: readonly Address[]
  readonly #device: Address
  readonly #cpuDevice: Address
  readonly #cpuRegistry: Address
  readonly #governor: ThreadGovernor
  readonly #threadpools = new Map<number, Address>()
  #threadsInUse = 0
  readonly #abortFlag: Address
  #queue: Promise<unknown> = Promise.resolve()
  #queued = 0
  #briefRuns = 0
  /** What to free once the job queued last is done. */
  #releases: (() => void)[] = []
  #disposed = false
  readonly #held: Held
  /** The main backend, where this one is parallel to it and takes its threads from it. */
  readonly #main: Backend | undefined
  /** Threads for the parallel backend that are not taken from this one's. */
  readonly #parallelThreads: number
  #parallel: Backend | undefined
  /** Threads that the parallel backend computes with now. */
  #inUseByParallel = 0
  /** Whether the running job has the main's threads all to itself. */
  #alone = false

  constructor(
    library: Library,
    kind: DeviceKind,
    device: Address,
    cpuDevice: Address,
    { threads, parallel }: Threads,
    passed: readonly PassedDevice[],
    beneath?: { readonly owner: Backend; readonly borrows: boolean },
  ) {
    const native = library.native
    this.passed = passed
    this.#main = beneath?.borrows ? beneath.owner : undefined
    this.#parallelThreads = parallel
    this.#held = beneath ? beneath.owner.#held : { buffers: 0, contexts: 0, objects: 0 }
    this.library = library
    this.native = native
    this.kind = kind
    this.threads = threads
    this.#governor = new ThreadGovernor(threads)
    this.#device = device
    this.#cpuDevice = cpuDevice
    this.deviceName = native.backend_dev_description(device)
    const registry = native.backend_dev_backend_reg(cpuDevice)
    if (registry === null) throw new TensorLibraryError('the CPU device has no registry')
    this.#cpuRegistry = registry
    const flag = native.init(1024, false)
    const cpu = native.backend_dev_init(cpuDevice, null)
    if (flag === null || cpu === null)
      throw new TensorLibraryError('the CPU backend could not be started: out of memory')
    this.#abortFlag = flag
    this.#startThreads(cpu)
    const own = kind === 'cpu' ? cpu : native.backend_dev_init(device, null)
    if (own === null) {
      this.#stopThreads(cpu)
      native.free(flag)
      throw new TensorLibraryError(`device ${kind} (${this.deviceName}) could not be started`)
    }
    this.backends = kind === 'cpu' ? [cpu] : [own, cpu]
    const bufferType = native.backend_get_default_buffer_type(own)
    if (bufferType === null) throw new TensorLibraryError(`device ${kind} has no buffers`)
    this.bufferType = bufferType
    this.extraBufferTypes = kind === 'cpu' ? this.#findExtraBufferTypes(cpuDevice) : []
  }

  /** Total and free bytes as the device reports them (for the CPU: the machine's). */
  deviceMemory(): { free: number; total: number } {
    const free = new BigUint64Array(1)
    const total = new BigUint64Array(1)
    this.native.backend_dev_memory(this.#device, free, total)
    return { free: Number(free[0]), total: Number(total[0]) }
  }

  /**
   * Bytes that can still be had where weights and caches go: on a GPU its own, as the driver tells (all of them,
   * where it does not keep count); on the CPU, and at most that on a GPU that shares it, the machine's.
   */
  availableMemory(): number {
    if (this.kind === 'cpu') return process.availableMemory()
    const { free } = this.deviceMemory()
    return this.native.backend_dev_type(this.#device) === DISCRETE_GPU
      ? free
      : Math.min(free, process.availableMemory())
  }

  /**
   * Throws when a GPU's memory is nearly used up: a graph that takes more of it while it computes ends the process.
   *
   * @internal
   */
  checkReserve(): void {
    if (this.kind === 'cpu') return
    const free = this.availableMemory()
    if (free >= GPU_RESERVE) return
    throw new TensorError(
      `out of memory on ${this.deviceName}: ${Math.round(free / 1e6)} MB are left and graphs need ${GPU_RESERVE / 1e6} MB`,
    )
  }

  /** Native bytes and objects that live now; all zero once everything made from this backend is disposed. */
  get memory(): NativeMemory {
    return { ...this.#held }
  }

  /** Jobs waiting or running. */
  get queued(): number {
    return this.#queued
  }

  get disposed(): boolean {
    return this.#disposed
  }

  /**
   * Runs `job` when all earlier ones are done. Jobs never overlap, so a job may set inputs, compute and read outputs
   * without another graph writing the same memory in between. Rejects with the signal's reason when aborted before
   * its turn. `alone`, on a parallel backend, asked at its turn: as that one's job, on all its threads, because
   * that one has nothing to do.
   */
  enqueue<T>(job: () => Promise<T> | T, signal?: AbortSignal, alone = (): boolean => false): Promise<T> {
    if (this.#disposed) return Promise.reject(new TensorError('the backend is disposed'))
    const start = async (): Promise<T> => {
      signal?.throwIfAborted()
      if (this.#disposed) throw new TensorError('the backend was disposed before the computation began')
      if (!this.#main) return job()
      return alone() ? this.#takeAll(this.#main, job) : this.#main.#runWithThreads(this.threads, job)
    }
    // At once, so that it stands in the other's queue before what is asked for next.
    const result = this.#main && this.#queued === 0 && alone() ? start() : this.#queue.then(start)
    this.#queued++
    const releases: (() => void)[] = []
    this.#releases = releases
    const settled = (): void => {
      this.#queued--
      for (const free of releases) free()
    }
    this.#queue = result.then(settled, settled)
    return result
  }

  /**
   * A second queue, whose computations run at the same time as this one's on a quarter of its threads (one at least),
   * which this one then does without. Two that share nothing lose less time side by side than one after the other on
   * all threads, which meet after each operation. With `parallelThreads` it has threads of its own. This backend itself
   * on a GPU or with one thread in all. Its memory is counted here, and it is disposed with this one.
   */
  parallel(): Backend {
    if (this.#parallel) return this.#parallel
    const borrows = this.#parallelThreads === 0
    if (this.kind !== 'cpu' || (borrows && this.threads === 1)) return this
    const threads = borrows ? Math.max(1, Math.floor(this.threads / 4)) : this.#parallelThreads
    const { library, kind, passed } = this
    this.#parallel = new Backend(library, kind, this.#device, this.#cpuDevice, { threads, parallel: 0 }, passed, {
      owner: this,
      borrows,
    })
    return this.#parallel
  }

  /** Whether the parallel backend takes its threads from this one. */
  get sharesThreads(): boolean {
    return this.#parallelThreads === 0
  }

  /** Runs a job of the parallel backend, on threads taken from this one between two of its jobs. */
  async #runWithThreads<T>(threads: number, job: () => Promise<T> | T): Promise<T> {
    await this.enqueue(() => {
      this.#inUseByParallel = threads
      // The pool that is left goes to sleep; otherwise its threads would go on waiting in a loop for their next work.
      this.#useThreads(Math.min(this.#threadsInUse, this.threads - threads))
    })
    try {
      return await job()
    } finally {
      this.#inUseByParallel = 0
    }
  }

  /** Runs a job of this backend as one of the main backend's: alone, on all its threads. */
  #takeAll<T>(main: Backend, job: () => Promise<T> | T): Promise<T> {
    return main.enqueue(async () => {
      // As in #runWithThreads: whose pool does not compute is to sleep.
      main.#useThreads(1)
      this.#alone = true
      try {
        return await job()
      } finally {
        this.#alone = false
        this.#useThreads(this.threads)
      }
    })
  }

  /** The threads that the running job may have, and who judges how many of them it gets. */
  get #share(): { threads: number; governor: ThreadGovernor } {
    if (this.#alone && this.#main) return { threads: this.#main.threads, governor: this.#main.#governor }
    return { threads: this.threads - this.#inUseByParallel, governor: this.#governor }
  }

  /** @internal Frees something native: now when nothing runs, else as soon as all jobs queued so far are done. */
  release(free: () => void): void {
    if (this.#queued === 0) free()
    else this.#releases.push(free)
  }

  /**
   * Runs `start`, which computes a graph here or on a worker thread; inside a job only. An abort rejects with the
   * signal's reason: on the CPU after the running operation; on a GPU, which cannot be stopped, when the graph is done.
   * One that crawls because other programs take the cores is stopped and started again with fewer threads, if it may.
   *
   * @internal
   * @param brief it computes here in less than a millisecond: only some of these are timed, because asking the system
   *   for the processor's time costs a tenth of that
   */
  async runNative(
    kind: GraphKind,
    start: () => Promise<number> | number,
    brief: boolean,
    signal?: AbortSignal,
  ): Promise<void> {
    signal?.throwIfAborted()
    const { threads, governor } = this.#share
    // While a GPU computes, threads wait for it: the processor's time says nothing about them.
    const judged = this.kind === 'cpu' && !kind.coarse && (!brief || this.#briefRuns++ % JUDGED === 0)
    const stop = (): void => this.native.set_no_alloc(this.#abortFlag, true)
    signal?.addEventListener('abort', stop, { once: true })
    let crawls = false
    const watch =
      kind.repeatable && judged && !brief && threads > 1
        ? setInterval(() => {
            if (crawls || !governor.shouldRestart()) return
            crawls = true
            stop()
          }, 50)
        : undefined
    try {
      for (;;) {
        crawls = false
        // Read anew: the parallel backend may have ended meanwhile.
        const now = this.#share.threads
        this.#useThreads(
          kind.coarse || this.kind !== 'cpu' ? now : judged ? governor.begin(now) : governor.threadsFor(now),
        )
        this.native.set_no_alloc(this.#abortFlag, false)
        signal?.throwIfAborted()
        const status = await start()
        if (status === STATUS_ABORTED) {
          signal?.throwIfAborted()
          // Others took the cores: once more from the start, with fewer threads. Graphs can be repeated, because
          // inputs keep their memory and cache writes go to rows by number.
          if (crawls) continue
        }
        if (status !== 0) throw new TensorError(failure(status, this.deviceName))
        if (judged) governor.end()
        signal?.throwIfAborted()
        return
      }
    } finally {
      clearInterval(watch)
      signal?.removeEventListener('abort', stop)
    }
  }

  /** @internal */
  newContext(bytes: number): Address {
    const context = this.native.init(bytes, true)
    if (context === null) throw new TensorError(`out of memory: ${bytes} bytes for tensor records`)
    this.#held.contexts += bytes
    this.#held.objects++
    return context
  }

  /** @internal */
  freeContext(context: Address, bytes: number): void {
    this.native.free(context)
    this.#held.contexts -= bytes
    this.#held.objects--
  }

  /** @internal Counts a native buffer (or allocator) of `bytes`; negative when it grows smaller. */
  account(bytes: number, objects: number): void {
    this.#held.buffers += bytes
    this.#held.objects += objects
  }

  /** Waits for nothing: dispose when no job runs. Throws when one does. */
  [Symbol.dispose](): void {
    if (this.#disposed) return
    if (this.#queued > 0 || (this.#parallel?.queued ?? 0) > 0)
      throw new TensorError('the backend is disposed while computations run; await them first')
    this.#parallel?.[Symbol.dispose]()
    this.#disposed = true
    const cpu = this.backends.at(-1)
    if (this.backends.length > 1 && this.backends[0] !== undefined) this.native.backend_free(this.backends[0])
    if (cpu !== undefined) this.#stopThreads(cpu)
    this.native.free(this.#abortFlag)
  }

  #procedure(name: string): Address {
    const address = this.native.backend_reg_get_proc_address(this.#cpuRegistry, name)
    if (address === null) throw new TensorLibraryError(`the CPU backend lacks ${name}`)
    return address
  }

  #startThreads(cpu: Address): void {
    this.#useThreads(this.threads, cpu)
    // Cancelling needs a native predicate: this one returns the flag of a context made for nothing else.
    const predicate = this.native.symbol('ggml_get_no_alloc')
    callAddress(this.#procedure('ggml_backend_set_abort_callback'), 'v:ppp', cpu, predicate, this.#abortFlag)
  }

  /** Lets the CPU compute with this many threads. Without a lasting pool, each graph would pay 4 ms to start them. */
  #useThreads(threads: number, cpu = this.backends.at(-1)): void {
    if (threads === this.#threadsInUse || cpu === undefined) return
    let pool = this.#threadpools.get(threads)
    if (pool === undefined) {
      // The parameters are opaque to us: the library fills a buffer larger than they can be.
      const parameters = new Uint8Array(4096)
      this.native.threadpool_params_init(parameters, threads)
      const made = callAddress(this.#procedure('ggml_threadpool_new'), 'p:d', parameters)
      if (made === null) throw new TensorLibraryError(`${threads} threads could not be started`)
      pool = made
      this.#threadpools.set(threads, pool)
    }
    callAddress(this.#procedure('ggml_backend_set_n_threads'), 'v:pi', cpu, threads)
    callAddress(this.#procedure('ggml_backend_cpu_set_threadpool'), 'v:pp', cpu, pool)
    this.#threadsInUse = threads
  }

  #stopThreads(cpu: Address): void {
    this.native.backend_free(cpu)
    for (const pool of this.#threadpools.values()) {
      callAddress(this.#procedure('ggml_threadpool_free'), 'v:p', pool)
    }
    this.#threadpools.clear()
  }

  #findExtraBufferTypes(cpuDevice: Address): Address[] {
    const get = this.native.backend_reg_get_proc_address(this.#cpuRegistry, 'ggml_backend_dev_get_extra_bufts')
    if (get === null) return []
    const list = callAddress(get, 'p:p', cpuDevice)
    const found: Address[] = []
    for (let i = 0; list !== null; i++) {
      const type = pointerAt(list, i)
      if (type === null) break
      found.push(type)
    }
    return found
  }
}

/** `ggml_status` in words. */
function failure(status: number, deviceName: string): string {
  if (status === -2)
    return `out of memory on ${deviceName} while computing: close other programs, or ask for less at once`
  return `the computation on ${deviceName} failed with status ${status}`
}

/** @internal Computes a graph on the device: on a worker thread, or at once in this one. Gives its status. */
export function computeGraph(backend: Backend, graph: Address, atOnce: boolean): Promise<number> | number {
  const own = backend.backends[0]
  if (own === undefined) throw new TensorError('the backend has no device')
  const compute = backend.native.backend_graph_compute
  return atOnce ? compute(own, graph) : callAsync(compute, own, graph)
}
