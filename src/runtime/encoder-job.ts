/**
 * An encoder's work on one medium, a piece per turn of the loop, so that a long video does not delay other requests.
 *
 * In: work that calls `pause` between its pieces (windows of audio, frames of a video). Out: its result, from the
 * turn that completes it.
 */

/** Resolves when the work may go on; rejects when it has been given up. */
export type Pause = () => Promise<void>

export class EncoderJob<Result> {
  readonly #work: (pause: Pause) => Promise<Result>
  #result: Promise<Result> | undefined
  #paused: { readonly resume: () => void; readonly giveUp: (reason: unknown) => void } | undefined
  #atPause: () => void = () => undefined
  #reason: unknown

  constructor(work: (pause: Pause) => Promise<Result>) {
    this.#work = work
  }

  /** Works to the next pause (undefined) or to the end. Rejects with what the work failed with. */
  turn(): Promise<Result | undefined> {
    const paused = new Promise<undefined>((resolve) => (this.#atPause = () => resolve(undefined)))
    if (this.#result === undefined) this.#result = this.#work(() => this.#pause())
    else this.#paused?.resume()
    return Promise.race([this.#result, paused])
  }

  /** Gives up: work that stands at a pause ends there and lets go of its memory. Resolves once it has ended. */
  async cancel(reason: unknown): Promise<void> {
    this.#reason ??= reason
    this.#paused?.giveUp(reason)
    // Nobody asks for the result any more.
    await this.#result?.catch(() => undefined)
  }

  #pause(): Promise<void> {
    if (this.#reason !== undefined) return Promise.reject(this.#reason as Error)
    return new Promise((resume, giveUp) => {
      this.#paused = { resume, giveUp }
      this.#atPause()
    })
  }
}
