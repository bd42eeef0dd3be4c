/**
 * A compute device, ready to run graphs: the CPU with a persistent thread pool, or a GPU.
 *
 * In: an opened device and thread counts. Out: a {@link Backend} that allocates tensors, runs graphs one after the
 * other on worker threads (the event loop stays free), stops a graph when a signal aborts, and counts native memory.
 */

import { CpuBackend } from './cpu-backend.ts'
import { TensorError, TensorLibraryError } from './errors.ts'
import type { DeviceKind, Library } from './library.ts'
import { callAsync, type Address, type Native } from './native.ts'
import { ThreadGovernor } from './thread-governor.ts'

/** A device that `auto` tried and skipped. */
export interface SkippedDevice {
  readonly device: DeviceKind
  readonly reason: string
}

/** Native memory in use. */
export interface NativeMemory {
  /** Bytes of tensor data: weights, caches, activations. Mapped files are not counted. */
  readonly buffers: number
  /** Bytes of tensor and graph records. */
  readonly contexts: number
  /** Number of live native objects: contexts, buffers, allocators. */
  readonly objects: number
}

/** @internal Numbers of compute threads. */
export interface ThreadCounts {
  readonly threads: number
  /** Additional threads of the parallel backend; 0 when it takes its threads from `threads`. */
  readonly parallel: number
}

/** @internal Properties of a graph that the number of threads depends on. */
export interface GraphKind {
  /** Running it twice has the same effect as running it once. */
  readonly repeatable: boolean
  /** Its operations are so long that synchronising threads after each costs little. */
  readonly longOperations: boolean
}

/** `GGML_STATUS_ABORTED` */
const STATUS_ABORTED = 1
/** `GGML_STATUS_ALLOC_FAILED` */
const STATUS_ALLOC_FAILED = -2
/** `GGML_BACKEND_DEVICE_TYPE_GPU`: a GPU with its own memory. Other types share the machine's. */
const DISCRETE_GPU = 1
/** Bytes that a GPU's graphs may allocate while they compute (dequantised weights, split sums). */
const GPU_RESERVE = 64e6
/** One in this many brief graphs is measured by the thread governor. */
const BRIEF_SAMPLING = 8
/** Milliseconds between checks of whether a running graph should restart with fewer threads. */
const RESTART_CHECK_INTERVAL = 50

type MemoryCounters = { -readonly [K in keyof NativeMemory]: number }

/** See the file header. Made by `loadBackend`. */
export class Backend implements Disposable {
  readonly library: Library
  readonly kind: DeviceKind
  readonly threads: number
  /** The device as its driver names it. */
  readonly deviceName: string
  /** With `auto`: the devices tried before this one, and why they were skipped. */
  readonly skipped: readonly SkippedDevice[]
  /** @internal */
  readonly native: Native
  /** @internal The device's default buffer type. */
  readonly bufferType: Address
  /** @internal Buffer types that repack weights for fast kernels (CPU only), best first. */
  readonly extraBufferTypes: readonly Address[]
  /** @internal The device and, on a GPU, the CPU for operations that the GPU does not support. */
  readonly backends: readonly Address[]
  readonly #device: Address
  readonly #cpuDevice: Address
  readonly #cpu: CpuBackend
  readonly #governor: ThreadGovernor
  #queue: Promise<unknown> = Promise.resolve()
  #queued = 0
  #briefRuns = 0
  /** What to free when the last queued job is done. */
  #releases: (() => void)[] = []
  #disposed = false
  /** Shared with the parallel backend. */
  readonly #memory: MemoryCounters
  /** On a parallel backend that takes its threads from the main backend: that one. */
  readonly #main: Backend | undefined
  /** Additional threads of the parallel backend. */
  readonly #parallelThreads: number
  #parallel: Backend | undefined
  /** Threads that the parallel backend is using now. */
  #reservedThreads = 0
  /** Whether the running job uses all threads of the main backend. */
  #usesMainThreads = false

  constructor(
    library: Library,
    kind: DeviceKind,
    device: Address,
    cpuDevice: Address,
    { threads, parallel }: ThreadCounts,
    skipped: readonly SkippedDevice[],
    parent?: { readonly backend: Backend; readonly sharesThreads: boolean },
  ) {
    const native = library.native
    this.skipped = skipped
    this.#main = parent?.sharesThreads ? parent.backend : undefined
    this.#parallelThreads = parallel
    this.#memory = parent ? parent.backend.#memory : { buffers: 0, contexts: 0, objects: 0 }
    this.library = library
    this.native = native
    this.kind = kind
    this.threads = threads
    this.#governor = new ThreadGovernor(threads)
    this.#device = device
    this.#cpuDevice = cpuDevice
    this.deviceName = native.backend_dev_description(device)
    const cpu = new CpuBackend(native, cpuDevice, threads)
    this.#cpu = cpu
    const handle = kind === 'cpu' ? cpu.handle : native.backend_dev_init(device, null)
    if (handle === null) {
      cpu[Symbol.dispose]()
      throw new TensorLibraryError(`device ${kind} (${this.deviceName}) could not be started`)
    }
    this.backends = kind === 'cpu' ? [handle] : [handle, cpu.handle]
    const bufferType = native.backend_get_default_buffer_type(handle)
    if (bufferType === null) throw new TensorLibraryError(`device ${kind} has no buffer type`)
    this.bufferType = bufferType
    this.extraBufferTypes = kind === 'cpu' ? cpu.extraBufferTypes() : []
  }

  /** Total and free bytes as the device reports them (for the CPU: the machine's). */
  deviceMemory(): { free: number; total: number } {
    const free = new BigUint64Array(1)
    const total = new BigUint64Array(1)
    this.native.backend_dev_memory(this.#device, free, total)
    return { free: Number(free[0]), total: Number(total[0]) }
  }

  /**
   * Bytes available for weights and caches: a GPU's own memory as its driver reports it (all of it where the driver
   * does not track use), else the machine's.
   */
  availableMemory(): number {
    if (this.kind === 'cpu') return process.availableMemory()
    const { free } = this.deviceMemory()
    return this.native.backend_dev_type(this.#device) === DISCRETE_GPU
      ? free
      : Math.min(free, process.availableMemory())
  }

  /**
   * Throws {@link TensorError} when a GPU's memory is nearly used up: a failed allocation within a graph would end the
   * process.
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

  /** Native memory in use; all zero once everything made from this backend is disposed. */
  get memory(): NativeMemory {
    return { ...this.#memory }
  }

  /** Number of jobs waiting or running. */
  get queued(): number {
    return this.#queued
  }

  get disposed(): boolean {
    return this.#disposed
  }

  /**
   * Runs `job` when all earlier jobs are done. Jobs never overlap, so a job may set inputs, compute and read outputs
   * without another graph writing the same memory in between. Rejects with the signal's reason when aborted before the
   * job starts.
   *
   * @param useAllThreads on a parallel backend, called when the job is due; true runs it on all threads of the main
   *   backend, as a job of that backend
   */
  enqueue<T>(job: () => Promise<T> | T, signal?: AbortSignal, useAllThreads = (): boolean => false): Promise<T> {
    if (this.#disposed) return Promise.reject(new TensorError('the backend is disposed'))
    const start = async (): Promise<T> => {
      signal?.throwIfAborted()
      if (this.#disposed) throw new TensorError('the backend was disposed before the computation began')
      if (!this.#main) return job()
      return useAllThreads() ? this.#runOnMainThreads(this.#main, job) : this.#main.#runReserving(this.threads, job)
    }
    // Start synchronously, so that the job is in the main queue before jobs that are enqueued there next.
    const result = this.#main && this.#queued === 0 && useAllThreads() ? start() : this.#queue.then(start)
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
   * A second backend on the same device, whose jobs run at the same time as this one's. It uses the threads given as
   * `parallelThreads`, or else reserves a quarter of this backend's threads (at least one) while it computes. Returns
   * this backend itself on a GPU, or with a single thread. Memory is counted here; disposing this one disposes both.
   */
  parallel(): Backend {
    if (this.#parallel) return this.#parallel
    const { library, kind, skipped, sharesThreads } = this
    if (kind !== 'cpu' || (sharesThreads && this.threads === 1)) return this
    const threads = sharesThreads ? Math.max(1, Math.floor(this.threads / 4)) : this.#parallelThreads
    const parent = { backend: this, sharesThreads }
    const counts = { threads, parallel: 0 }
    this.#parallel = new Backend(library, kind, this.#device, this.#cpuDevice, counts, skipped, parent)
    return this.#parallel
  }

  /** Whether the parallel backend takes its threads from this one. */
  get sharesThreads(): boolean {
    return this.#parallelThreads === 0
  }

  /** Runs a job of the parallel backend on threads that this backend reserves between two of its own jobs. */
  async #runReserving<T>(threads: number, job: () => Promise<T> | T): Promise<T> {
    await this.enqueue(() => {
      this.#reservedThreads = threads
      // Changing pools puts the old one to sleep; its threads would otherwise spin while they wait for work.
      this.#cpu.useThreads(Math.min(this.#cpu.threads, this.threads - threads))
    })
    try {
      return await job()
    } finally {
      this.#reservedThreads = 0
    }
  }

  /** Runs a job of this parallel backend as a job of the main backend, on all its threads. */
  #runOnMainThreads<T>(main: Backend, job: () => Promise<T> | T): Promise<T> {
    return main.enqueue(async () => {
      // As in #runReserving: puts the idle pool to sleep.
      main.#cpu.useThreads(1)
      this.#usesMainThreads = true
      try {
        return await job()
      } finally {
        this.#usesMainThreads = false
        this.#cpu.useThreads(this.threads)
      }
    })
  }

  /** Threads that the running job may use, and the governor that decides how many of them it does use. */
  get #threadBudget(): { threads: number; governor: ThreadGovernor } {
    if (this.#usesMainThreads && this.#main) return { threads: this.#main.threads, governor: this.#main.#governor }
    return { threads: this.threads - this.#reservedThreads, governor: this.#governor }
  }

  /** @internal Frees a native object: now when nothing runs, else when all jobs queued so far are done. */
  release(free: () => void): void {
    if (this.#queued === 0) free()
    else this.#releases.push(free)
  }

  /**
   * Runs `start`, which computes a graph in this thread or on a worker thread; inside a job only. On abort it rejects
   * with the signal's reason: on the CPU after the running operation; on a GPU, which cannot be stopped, after the
   * graph. A repeatable graph that is slow because other programs use the cores is restarted with fewer threads.
   *
   * @internal
   * @param brief computes in this thread, in about a millisecond: only some of these are measured, because reading the
   *   process's CPU time is slow in comparison
   */
  async runNative(
    kind: GraphKind,
    start: () => Promise<number> | number,
    brief: boolean,
    signal?: AbortSignal,
  ): Promise<void> {
    signal?.throwIfAborted()
    const { threads, governor } = this.#threadBudget
    // While a GPU computes, CPU threads wait, so CPU time means nothing.
    const measured = this.kind === 'cpu' && !kind.longOperations && (!brief || this.#briefRuns++ % BRIEF_SAMPLING === 0)
    const stop = (): void => this.#cpu.setAbort(true)
    signal?.addEventListener('abort', stop, { once: true })
    let restart = false
    const restartCheck =
      kind.repeatable && measured && !brief && threads > 1
        ? setInterval(() => {
            if (restart || !governor.shouldRestart()) return
            restart = true
            stop()
          }, RESTART_CHECK_INTERVAL)
        : undefined
    try {
      for (;;) {
        restart = false
        // Read again on each attempt: the parallel backend may have finished meanwhile.
        const limit = this.#threadBudget.threads
        const ungoverned = kind.longOperations || this.kind !== 'cpu'
        this.#cpu.useThreads(ungoverned ? limit : measured ? governor.begin(limit) : governor.threadsFor(limit))
        this.#cpu.setAbort(false)
        signal?.throwIfAborted()
        const status = await start()
        if (status === STATUS_ABORTED) {
          signal?.throwIfAborted()
          // Safe to run again: inputs keep their memory, and cache writes go to fixed rows.
          if (restart) continue
        }
        if (status !== 0) throw new TensorError(describeStatus(status, this.deviceName))
        if (measured) governor.end()
        signal?.throwIfAborted()
        return
      }
    } finally {
      clearInterval(restartCheck)
      signal?.removeEventListener('abort', stop)
    }
  }

  /** @internal A `ggml_context` for `bytes` of tensor and graph records. */
  newContext(bytes: number): Address {
    const context = this.native.init(bytes, true)
    if (context === null) throw new TensorError(`out of memory: ${bytes} bytes for tensor records`)
    this.#memory.contexts += bytes
    this.#memory.objects++
    return context
  }

  /** @internal */
  freeContext(context: Address, bytes: number): void {
    this.native.free(context)
    this.#memory.contexts -= bytes
    this.#memory.objects--
  }

  /** @internal Adds to the counters of buffer bytes and native objects; negative numbers subtract. */
  account(bytes: number, objects: number): void {
    this.#memory.buffers += bytes
    this.#memory.objects += objects
  }

  /** Does not wait: throws {@link TensorError} while jobs are queued or running. */
  [Symbol.dispose](): void {
    if (this.#disposed) return
    if (this.#queued > 0 || (this.#parallel?.queued ?? 0) > 0)
      throw new TensorError('the backend is disposed while computations run; await them first')
    this.#parallel?.[Symbol.dispose]()
    this.#disposed = true
    const [device] = this.backends
    if (this.kind !== 'cpu' && device !== undefined) this.native.backend_free(device)
    this.#cpu[Symbol.dispose]()
  }
}

function describeStatus(status: number, deviceName: string): string {
  if (status === STATUS_ALLOC_FAILED)
    return `out of memory on ${deviceName} while computing: close other programs, or send smaller requests`
  return `the computation on ${deviceName} failed with status ${status}`
}

/** @internal Computes a graph on the device, in this thread or on a worker thread. Returns its `ggml_status`. */
export function computeGraph(backend: Backend, graph: Address, inThisThread: boolean): Promise<number> | number {
  const [device] = backend.backends
  if (device === undefined) throw new TensorError('the backend has no device')
  const compute = backend.native.backend_graph_compute
  return inThisThread ? compute(device, graph) : callAsync(compute, device, graph)
}
