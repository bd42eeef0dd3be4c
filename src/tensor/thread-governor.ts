/**
 * Decides how many threads compute, by the CPU time that they get.
 *
 * The library's threads spin until all have finished an operation. When other programs use the cores, spinning threads
 * delay the slowest one. So CPU time is compared with elapsed time: when it is far below `threads * elapsed`, fewer
 * threads are used for a while, then all again.
 */

export interface Usage {
  /** Milliseconds of CPU time of the process so far. */
  readonly cpu: number
  /** Pages read from disk so far (major page faults). */
  readonly diskPages: number
}

/** CPU time per elapsed time and thread below which other programs compete for the cores. */
const MIN_SHARE = 0.6
/** Milliseconds of computation that one decision is based on. */
const WINDOW = 150
/** Milliseconds with fewer threads before all are tried again; doubled after each failed try. */
const FIRST_PAUSE = 500
const LONGEST_PAUSE = 4000
/** A computation that reads more pages than this waits for the disk, and is ignored. */
const MANY_PAGES = 200

export class ThreadGovernor {
  readonly #maxThreads: number
  readonly #clock: () => number
  readonly #usage: () => Usage
  #threads: number
  #retryAt = 0
  #pause = FIRST_PAUSE
  /** Elapsed and CPU milliseconds of the current window. */
  #wall = 0
  #cpu = 0
  #startedAt = 0
  /** Maximum number of threads for the computation; the others are reserved. */
  #limit: number
  #usageBefore: Usage = { cpu: 0, diskPages: 0 }

  constructor(threads: number, clock: () => number = () => performance.now(), usage: () => Usage = processUsage) {
    this.#maxThreads = threads
    this.#threads = threads
    this.#limit = threads
    this.#clock = clock
    this.#usage = usage
  }

  /**
   * Number of threads for a computation that starts now, at most `limit`. The CPU time of reserved threads is included
   * in the measurement, so with a limit threads are reduced later.
   */
  begin(limit = this.#maxThreads): number {
    this.#startedAt = this.#clock()
    if (limit !== this.#limit) {
      this.#limit = limit
      this.#wall = 0
      this.#cpu = 0
    }
    if (this.#threads < this.#maxThreads && this.#startedAt >= this.#retryAt) {
      this.#threads = this.#maxThreads
      this.#wall = 0
      this.#cpu = 0
    }
    this.#usageBefore = this.#maxThreads > 1 ? this.#usage() : this.#usageBefore
    return this.#inUse
  }

  /** Number of threads for a computation that is not measured. */
  threadsFor(limit: number): number {
    return Math.min(this.#threads, limit)
  }

  get #inUse(): number {
    return Math.min(this.#threads, this.#limit)
  }

  /** During a computation: whether to stop it and start it again with fewer threads. Reduces the threads if so. */
  shouldRestart(): boolean {
    if (this.#inUse === 1) return false
    const wall = this.#wall + this.#clock() - this.#startedAt
    const usage = this.#usage()
    if (wall < WINDOW || usage.diskPages - this.#usageBefore.diskPages > MANY_PAGES) return false
    return this.#reduceThreads(wall, this.#cpu + usage.cpu - this.#usageBefore.cpu)
  }

  /** After a computation: measures it, and may reduce the threads. */
  end(): void {
    if (this.#inUse === 1) return
    const usage = this.#usage()
    if (usage.diskPages - this.#usageBefore.diskPages > MANY_PAGES) return
    this.#wall += this.#clock() - this.#startedAt
    this.#cpu += usage.cpu - this.#usageBefore.cpu
    if (this.#wall < WINDOW) return
    if (!this.#reduceThreads(this.#wall, this.#cpu)) this.#pause = FIRST_PAUSE
    this.#wall = 0
    this.#cpu = 0
  }

  /** Reduces the threads when they got too little CPU time. Returns whether it did. */
  #reduceThreads(wall: number, cpu: number): boolean {
    const cores = cpu / wall
    if (cores >= MIN_SHARE * this.#inUse) return false
    this.#threads = Math.min(this.#inUse - 1, Math.max(1, Math.floor(cores)))
    this.#retryAt = this.#clock() + this.#pause
    this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 2)
    this.#wall = 0
    this.#cpu = 0
    return true
  }
}

function processUsage(): Usage {
  const { userCPUTime, systemCPUTime, majorPageFault } = process.resourceUsage()
  return { cpu: (userCPUTime + systemCPUTime) / 1000, diskPages: majorPageFault }
}
