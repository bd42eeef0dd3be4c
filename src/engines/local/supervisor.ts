/**
 * Keeps one engine process alive: starts it, and restarts it with growing pauses after crashes.
 *
 * In: process options. Out: the current process, or the reason why there is none.
 */

import { type EngineProcess, type EngineProcessOptions, startEngineProcess } from './engine-process.ts'
import type { LoadedModel } from './messages.ts'

export interface SupervisorOptions extends Omit<EngineProcessOptions, 'onExit'> {
  /** Called each time the process has ended without being asked to. */
  readonly onCrash: (description: string) => void
  /**
   * First pause before a restart, milliseconds; doubles up to `longestPause`, and starts over after a healthy minute.
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

  /** The process that serves, if there is one now. */
  get process(): EngineProcess | undefined {
    return this.#process
  }

  /** Why there is none. */
  get reason(): string | undefined {
    return this.#process ? undefined : this.#reason
  }

  /**
   * The process, once there is one; undefined when there is none after `milliseconds`. Rejects with the signal's
   * reason.
   */
  async available(milliseconds: number, signal: AbortSignal | undefined): Promise<EngineProcess | undefined> {
    if (this.#process || this.#closing.signal.aborted || milliseconds <= 0) return this.#process
    const limits = [this.#closing.signal, AbortSignal.timeout(milliseconds), ...(signal ? [signal] : [])]
    const limit = AbortSignal.any(limits)
    await new Promise<void>((resolve) => {
      const go = (): void => {
        this.#waiting.delete(go)
        limit.removeEventListener('abort', go)
        resolve()
      }
      this.#waiting.add(go)
      limit.addEventListener('abort', go, { once: true })
    })
    signal?.throwIfAborted()
    return this.#process
  }

  /** Starts the first process. Throws loading's error. */
  async start(signal?: AbortSignal): Promise<LoadedModel> {
    const signals = signal ? [signal, this.#closing.signal] : [this.#closing.signal]
    const { process, loaded } = await startEngineProcess(
      { ...this.#options, onExit: (description) => this.#lost(description) },
      AbortSignal.any(signals),
    )
    this.#process = process
    this.#reason = undefined
    for (const go of this.#waiting) go()
    this.#startedAt = performance.now()
    return loaded
  }

  /** Ends the process for good. */
  async close(grace: number): Promise<void> {
    this.#closing.abort(new DOMException('The engine was closed.', 'AbortError'))
    clearTimeout(this.#timer)
    this.#reason = 'closed'
    const process = this.#process
    this.#process = undefined
    await Promise.allSettled([process?.end(grace), this.#restarting])
  }

  #lost(description: string): void {
    if (this.#closing.signal.aborted) return
    this.#process = undefined
    if (performance.now() - this.#startedAt > healthyMilliseconds) this.#pause = this.#options.firstPause
    this.#options.onCrash(description)
    this.#plan(description)
  }

  #plan(description: string): void {
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
      if (!this.#closing.signal.aborted) this.#plan(`could not be restarted: ${String(error)}`)
    }
  }
}
