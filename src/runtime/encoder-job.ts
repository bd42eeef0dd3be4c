/**
 * An encoder's work on one medium, one piece per step of the loop, so that a long video does not delay other requests.
 *
 * In: work that awaits `pause` between its pieces (windows of audio, frames of a video). Out: its result, from the
 * step that completes it.
 */

/** Resolves when the work may continue. Rejects with the reason when the job is cancelled. */
export type Pause = () => Promise<void>

export class EncoderJob<Result> {
  readonly #work: (pause: Pause) => Promise<Result>
  #result: Promise<Result> | undefined
  #paused: { readonly resume: () => void; readonly reject: (reason: unknown) => void } | undefined
  #atPause: () => void = () => undefined
  #reason: unknown

  constructor(work: (pause: Pause) => Promise<Result>) {
    this.#work = work
  }

  /** Runs to the next pause (undefined) or to the end (the result). Rejects as the work does. */
  step(): Promise<Result | undefined> {
    const paused = new Promise<undefined>((resolve) => (this.#atPause = () => resolve(undefined)))
    if (this.#result === undefined) this.#result = this.#work(() => this.#pause())
    else this.#paused?.resume()
    return Promise.race([this.#result, paused])
  }

  /** Cancels the job: paused work rejects at its pause and frees its memory. Resolves once the work has ended. */
  async cancel(reason: unknown): Promise<void> {
    this.#reason ??= reason
    this.#paused?.reject(reason)
    // A cancelled job has no reader for its failure.
    await this.#result?.catch(() => undefined)
  }

  #pause(): Promise<void> {
    if (this.#reason !== undefined) return Promise.reject(this.#reason as Error)
    return new Promise((resume, reject) => {
      this.#paused = { resume, reject }
      this.#atPause()
    })
  }
}
