/**
 * Starts one engine process, and restarts it after crashes with exponential backoff.
 *
 * In: process options. Out: the current process, or the reason why there is none.
 */

import { type EngineProcess, type EngineProcessOptions, startEngineProcess } from './engine-process.ts'
import type { LoadedModel } from './messages.ts'

export interface SupervisorOptions extends Omit<EngineProcessOptions, 'onExit'> {
  /** Called each time the process has ended unexpectedly. */
  readonly onCrash: (description: string) => void
  /**
   * First delay before a restart, milliseconds. It doubles up to `longestPause`, and is reset after a healthy minute.
   */
  readonly firstPause: number
  readonly longestPause: number
}

const healthyMilliseconds = 60_000

export class Supervisor {
  readonly #options: SupervisorOptions
  #process: EngineProcess | undefined
  #reason: string | undefined = 'starting'
  #pause: number
  #startedAt = 0
  #timer: NodeJS.Timeout | undefined
  readonly #closing = new AbortController()
  #restarting: Promise<void> | undefined
  readonly #waiting = new Set<() => void>()
  restarts = 0

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#pause = options.firstPause
  }

  /** The running process, if there is one. */
  get process(): EngineProcess | undefined {
    return this.#process
  }

  /** Why there is no process. */
  get reason(): string | undefined {
    return this.#process ? undefined : this.#reason
  }

  /**
   * Waits for a process, at most `milliseconds`. Resolves with undefined when there is still none. Rejects with the
   * signal's reason.
   */
  async available(milliseconds: number, signal: AbortSignal | undefined): Promise<EngineProcess | undefined> {
    if (this.#process || this.#closing.signal.aborted || milliseconds <= 0) return this.#process
    const limits = [this.#closing.signal, AbortSignal.timeout(milliseconds), ...(signal ? [signal] : [])]
    const limit = AbortSignal.any(limits)
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake)
        limit.removeEventListener('abort', wake)
        resolve()
      }
      this.#waiting.add(wake)
      limit.addEventListener('abort', wake, { once: true })
    })
    signal?.throwIfAborted()
    return this.#process
  }

  /** Starts a process. Throws the error of the load. */
  async start(signal?: AbortSignal): Promise<LoadedModel> {
    const signals = signal ? [signal, this.#closing.signal] : [this.#closing.signal]
    const { process, loaded } = await startEngineProcess(
      { ...this.#options, onExit: (description) => this.#onExit(description) },
      AbortSignal.any(signals),
    )
    this.#process = process
    this.#reason = undefined
    for (const wake of this.#waiting) wake()
    this.#startedAt = performance.now()
    return loaded
  }

  /** Ends the process without a restart. `grace`: milliseconds before it is killed. */
  async close(grace: number): Promise<void> {
    this.#closing.abort(new DOMException('The engine was closed.', 'AbortError'))
    clearTimeout(this.#timer)
    this.#reason = 'closed'
    const process = this.#process
    this.#process = undefined
    await Promise.allSettled([process?.end(grace), this.#restarting])
  }

  #onExit(description: string): void {
    if (this.#closing.signal.aborted) return
    this.#process = undefined
    if (performance.now() - this.#startedAt > healthyMilliseconds) this.#pause = this.#options.firstPause
    this.#options.onCrash(description)
    this.#scheduleRestart(description)
  }

  #scheduleRestart(description: string): void {
    this.#reason = `the engine process ${description}; restarting`
    this.#timer = setTimeout(() => (this.#restarting = this.#restart()), this.#pause)
    this.#timer.unref()
    this.#pause = Math.min(this.#pause * 2, this.#options.longestPause)
  }

  async #restart(): Promise<void> {
    try {
      await this.start()
      this.restarts += 1
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#scheduleRestart(`could not be restarted: ${String(error)}`)
    }
  }
}
