/**
 * Decides how many threads compute, by the share of the processor they really get.
 *
 * The library's threads spin until all have finished each operation. When other programs take the cores, a waiting
 * thread takes time from the late one. So the process's processor time is compared with elapsed time: when it is far
 * below the threads' share, fewer threads are used for a while, then all again.
 */

export interface Usage {
  /** Milliseconds of processor time of the process so far. */
  readonly cpu: number
  /** Pages read from disk so far: waiting for the disk does not reduce threads. */
  readonly diskPages: number
}

/** Below this share of the threads' time, other programs compete for the cores. */
const SHARE = 0.6
/** Computing time that one judgement needs, milliseconds. */
const WINDOW = 150
const FIRST_PAUSE = 500
const LONGEST_PAUSE = 4000
const MANY_PAGES = 200

export class ThreadGovernor {
  readonly #all: number
  readonly #clock: () => number
  readonly #usage: () => Usage
  #threads: number
  #retryAt = 0
  #pause = FIRST_PAUSE
  #wall = 0
  #cpu = 0
  #begun = 0
  /** Threads that the computation may have, others being reserved. */
  #limit: number
  #usageBefore: Usage = { cpu: 0, diskPages: 0 }

  constructor(threads: number, clock: () => number = () => performance.now(), usage: () => Usage = processUsage) {
    this.#all = threads
    this.#threads = threads
    this.#limit = threads
    this.#clock = clock
    this.#usage = usage
  }

  /**
   * Threads for the computation that begins now, `limit` at most. Reserved threads' time counts as the process's, so
   * with a limit judgements are milder.
   */
  begin(limit = this.#all): number {
    this.#begun = this.#clock()
    if (limit !== this.#limit) {
      this.#limit = limit
      this.#wall = 0
      this.#cpu = 0
    }
    if (this.#threads < this.#all && this.#begun >= this.#retryAt) {
      this.#threads = this.#all
      this.#wall = 0
      this.#cpu = 0
    }
    this.#usageBefore = this.#all > 1 ? this.#usage() : this.#usageBefore
    return this.#inUse
  }

  /** Threads for a computation that is not judged. */
  threadsFor(limit: number): number {
    return Math.min(this.#threads, limit)
  }

  get #inUse(): number {
    return Math.min(this.#threads, this.#limit)
  }

  /** While it runs: whether to stop it and begin again with fewer threads. */
  shouldRestart(): boolean {
    if (this.#inUse === 1) return false
    const wall = this.#wall + this.#clock() - this.#begun
    const usage = this.#usage()
    if (wall < WINDOW || usage.diskPages - this.#usageBefore.diskPages > MANY_PAGES) return false
    return this.#judge(wall, this.#cpu + usage.cpu - this.#usageBefore.cpu)
  }

  /** When it has run to its end. */
  end(): void {
    if (this.#inUse === 1) return
    const usage = this.#usage()
    if (usage.diskPages - this.#usageBefore.diskPages > MANY_PAGES) return
    this.#wall += this.#clock() - this.#begun
    this.#cpu += usage.cpu - this.#usageBefore.cpu
    if (this.#wall < WINDOW) return
    if (!this.#judge(this.#wall, this.#cpu)) this.#pause = FIRST_PAUSE
    this.#wall = 0
    this.#cpu = 0
  }

  /** True when threads were taken away. */
  #judge(wall: number, cpu: number): boolean {
    const got = cpu / wall
    if (got >= SHARE * this.#inUse) return false
    this.#threads = Math.min(this.#inUse - 1, Math.max(1, Math.floor(got)))
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
