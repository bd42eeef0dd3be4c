/**
 * A pool of decoder processes.
 *
 * Media libraries parse untrusted input. They run in child processes that have no secrets and limited memory and time,
 * and that are killed when a request is cancelled or a limit is reached. A child serves one job at a time and is
 * replaced after a crash, a kill or a number of jobs. Children start when first needed and end when idle.
 *
 * In: {@link DecodeJob}s without their id. Out: replies, in order, through `onReply`; errors are {@link MediaError}.
 */
import { type ChildProcess, fork } from 'node:child_process'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { abortedError, illegalCode, MediaError } from '../errors.ts'
import { resourceError } from '../fetch/resources.ts'
import { concealEnvironment } from './conceal.ts'
import { type DecodeJob, type DecoderReply, replyFd, DecoderOutput } from './messages.ts'

type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never
export type JobRequest = WithoutId<DecodeJob>

export interface DecoderPoolOptions {
  /** Most child processes at the same time. */
  readonly workers: number
  /** Jobs that may wait; one more is refused with `overloaded`. */
  readonly maxWaiting: number
  /** Wall time of one job, milliseconds. */
  readonly timeoutMs: number
  /** Resident memory of one child, bytes. */
  readonly memoryBytes: number
  /** A child is replaced after this many jobs. */
  readonly jobsPerWorker: number
  /** A child that is idle for this long ends, milliseconds. */
  readonly idleMs: number
}

export interface PoolStatus {
  readonly workers: number
  readonly active: number
  readonly waiting: number
  readonly pids: readonly number[]
}

interface Task {
  readonly job: JobRequest
  readonly onReply: (reply: DecoderReply) => void
  readonly signal: AbortSignal
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  readonly abort: () => void
}

interface Worker {
  readonly child: ChildProcess
  /** Jobs that it has finished. */
  finishedJobs: number
  task: Task | undefined
  taskId: number
  jobTimer: NodeJS.Timeout | undefined
  idleTimer: NodeJS.Timeout | undefined
  /** Set if the worker was killed: the error of its task. */
  killReason: MediaError | undefined
}

/** More than any frame or image has, bytes; a child that sends more is faulty. */
const maxPayloadBytes = 512 * 1024 * 1024

export class DecoderPool implements AsyncDisposable {
  readonly #options: DecoderPoolOptions
  readonly #workers = new Set<Worker>()
  readonly #waiting: Task[] = []
  #nextId = 1
  #closed = false

  constructor(options: DecoderPoolOptions) {
    // Loads a library, which fails once no file descriptors are left.
    concealEnvironment()
    this.#options = options
  }

  status(): PoolStatus {
    const workers = [...this.#workers]
    return {
      workers: workers.length,
      active: workers.filter(({ task }) => task !== undefined).length,
      waiting: this.#waiting.length,
      pids: workers.map(({ child }) => child.pid ?? 0),
    }
  }

  /**
   * Runs one job; settles when the child reports that it is done.
   *
   * @throws MediaError as the child reports, or `decode_timeout`, `decode_memory`, `overloaded`, `aborted`
   */
  run(job: JobRequest, onReply: (reply: DecoderReply) => void, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed || signal.aborted) {
        reject(abortedError(signal))
        return
      }
      if (this.#waiting.length >= this.#options.maxWaiting) {
        reject(new MediaError('overloaded', 'Too many media files are waiting to be decoded; try again shortly.'))
        return
      }
      const task: Task = { job, onReply, signal, resolve, reject, abort: () => this.#abort(task) }
      signal.addEventListener('abort', task.abort, { once: true })
      this.#waiting.push(task)
      this.#dispatch()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    for (const task of this.#waiting.splice(0)) settle(task, abortedError(undefined))
    await Promise.all(
      [...this.#workers].map(async (worker) => {
        worker.child.ref()
        const exited = new Promise((resolve) => worker.child.once('exit', resolve))
        if (worker.child.exitCode !== null || worker.child.signalCode !== null) return
        this.#kill(worker, abortedError(undefined))
        await exited
      }),
    )
  }

  #dispatch(): void {
    while (this.#waiting.length > 0 && !this.#closed) {
      let worker = [...this.#workers].find(({ task, killReason }) => task === undefined && killReason === undefined)
      if (worker === undefined) {
        if (this.#workers.size >= this.#options.workers) return
        try {
          worker = this.#start()
        } catch (error) {
          settle(this.#waiting.shift()!, resourceError(error) ?? (error as Error))
          continue
        }
      }
      this.#assign(worker, this.#waiting.shift()!)
    }
  }

  #assign(worker: Worker, task: Task): void {
    clearTimeout(worker.idleTimer)
    worker.task = task
    worker.taskId = this.#nextId
    this.#nextId += 1
    const seconds = this.#options.timeoutMs / 1000
    worker.jobTimer = setTimeout(
      () => this.#kill(worker, new MediaError('decode_timeout', `Decoding took longer than ${seconds} s.`)),
      this.#options.timeoutMs,
    )
    worker.child.ref()
    worker.child.channel?.ref()
    ;(worker.child.stdio[replyFd] as { ref?: () => void }).ref?.()
    worker.child.send({ ...task.job, id: worker.taskId } as DecodeJob, () => {
      // Sending fails only if the child is ending; its exit settles the task.
    })
  }

  #start(): Worker {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
    const child = fork(fileURLToPath(new URL(`./worker.${extension}`, import.meta.url)), [], {
      // Empty, so that libraries see no keys, no NODE_OPTIONS and no proxy. Windows needs SystemRoot.
      env: process.env['SystemRoot'] === undefined ? {} : { SystemRoot: process.env['SystemRoot'] },
      execArgv: ['--max-old-space-size=256', '--no-warnings'],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc', 'pipe'],
    })
    // Without file descriptors Node creates no pipes, and later emits the same error.
    if ((child.stdio as unknown) === undefined) {
      child.once('error', () => {})
      throw Object.assign(new Error('no file descriptors for a decoder process'), { code: 'EMFILE' })
    }
    const worker: Worker = {
      child,
      finishedJobs: 0,
      task: undefined,
      taskId: 0,
      jobTimer: undefined,
      idleTimer: undefined,
      killReason: undefined,
    }
    this.#workers.add(worker)
    child.send({ memoryBytes: this.#options.memoryBytes }, () => {})
    const reader = new DecoderOutput(maxPayloadBytes)
    const pipe = child.stdio[replyFd] as Readable
    pipe.on('data', (chunk: Buffer) => {
      try {
        for (const reply of reader.push(chunk)) this.#reply(worker, reply)
      } catch (cause) {
        this.#kill(worker, new MediaError('decode_memory', 'The decoder sent more data than allowed.', { cause }))
      }
    })
    pipe.on('error', () => {})
    child.on('error', (error) => {
      worker.killReason ??= resourceError(error)
      this.#onExit(worker, null, null)
    })
    child.on('exit', (code, signal) => this.#onExit(worker, code, signal))
    return worker
  }

  #reply(worker: Worker, reply: DecoderReply): void {
    const { task } = worker
    if (task === undefined || reply.header.id !== worker.taskId) return
    const { header } = reply
    if (header.type !== 'done' && header.type !== 'error') {
      task.onReply(reply)
      return
    }
    let error: Error | undefined
    if (header.type === 'done') task.onReply(reply)
    else {
      const { code, message, kind, detail } = header
      // A cause marks a shortage of this machine, which the child reports without one.
      const cause = code === 'overloaded' ? { cause: new Error(message) } : {}
      error = new MediaError(code, message, { kind, detail, ...cause })
    }
    this.#release(worker)
    settle(task, error)
    this.#dispatch()
  }

  /** Makes the worker available again, or retires it after its last job. */
  #release(worker: Worker): void {
    clearTimeout(worker.jobTimer)
    worker.task = undefined
    worker.finishedJobs += 1
    if (worker.finishedJobs >= this.#options.jobsPerWorker) {
      this.#retire(worker)
      return
    }
    // An idle child must not keep the server alive.
    worker.child.unref()
    worker.child.channel?.unref()
    ;(worker.child.stdio[replyFd] as { unref?: () => void }).unref?.()
    worker.idleTimer = setTimeout(() => this.#retire(worker), this.#options.idleMs)
    worker.idleTimer.unref()
  }

  #retire(worker: Worker): void {
    clearTimeout(worker.idleTimer)
    this.#workers.delete(worker)
    if (worker.child.connected) worker.child.disconnect() // the child ends when its channel closes
    setTimeout(() => worker.child.kill('SIGKILL'), 2000).unref()
  }

  #abort(task: Task): void {
    const queued = this.#waiting.indexOf(task)
    if (queued >= 0) {
      this.#waiting.splice(queued, 1)
      settle(task, abortedError(task.signal))
      return
    }
    const worker = [...this.#workers].find((candidate) => candidate.task === task)
    if (worker !== undefined) this.#kill(worker, abortedError(task.signal))
  }

  /** Kills the child. Its task fails with `reason` at once, without waiting for the exit. */
  #kill(worker: Worker, reason: MediaError): void {
    worker.killReason ??= reason
    worker.child.kill('SIGKILL')
    const { task } = worker
    clearTimeout(worker.jobTimer)
    worker.task = undefined
    if (task !== undefined) settle(task, reason)
  }

  #onExit(worker: Worker, code: number | null, signal: NodeJS.Signals | null): void {
    clearTimeout(worker.jobTimer)
    clearTimeout(worker.idleTimer)
    this.#workers.delete(worker)
    const { task } = worker
    worker.task = undefined
    if (task !== undefined) settle(task, worker.killReason ?? crashed(task, code, signal))
    this.#dispatch()
  }
}

function crashed(task: Task, code: number | null, signal: NodeJS.Signals | null): MediaError {
  const { kind } = task.job
  // Out of memory: the watchdog in the child or the kernel sends SIGKILL, and V8 aborts.
  if (signal === 'SIGKILL' || signal === 'SIGABRT' || code === 134) {
    return new MediaError('decode_memory', 'Decoding took more memory than allowed.', { kind })
  }
  const how = signal ?? `exit code ${code}`
  return new MediaError(illegalCode(kind), `The ${kind} is broken: its decoder crashed (${how}).`, { kind })
}

function settle(task: Task, error?: Error): void {
  task.signal.removeEventListener('abort', task.abort)
  if (error === undefined) task.resolve()
  else task.reject(error)
}
