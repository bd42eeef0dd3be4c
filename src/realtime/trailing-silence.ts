/**
 * Finds the trailing silence of a turn, so that the turn's audio is known before the turn ends.
 *
 * In: the windows of a turn in order, each with the pause it belongs to. Out: the first sample to be replaced by
 * digital silence. A pause with loud noise is not replaced.
 */
import type { Pause } from './voice-activity/turn-detector.ts'

/** The first 192 ms of a pause are not replaced: they contain quiet ends of words. */
const UNCHANGED_WINDOWS = 6

/** Power relative to the loudest window: 20 dB below it. */
const MAX_SILENCE_POWER = 0.01

export class TrailingSilence {
  #pauseAt: number | undefined
  #from = 0
  /** Mean power of the loudest window before `#from`, and of the loudest one after it. */
  #loudest = 0
  #loudestAfter = 0

  /** Starts a new turn. */
  reset(): void {
    this.#pauseAt = undefined
    this.#loudest = 0
    this.#loudestAfter = 0
  }

  /** Adds the window that starts at `at`. */
  push(at: number, window: Float32Array, pause: Pause | undefined): void {
    const power = window.reduce((sum, sample) => sum + sample * sample, 0) / window.length
    if (pause?.since !== this.#pauseAt) {
      this.#pauseAt = pause?.since
      this.#from = pause === undefined ? 0 : pause.since + UNCHANGED_WINDOWS * window.length
      this.#loudest = Math.max(this.#loudest, this.#loudestAfter)
      this.#loudestAfter = 0
    }
    if (this.#pauseAt === undefined || at < this.#from) this.#loudest = Math.max(this.#loudest, power)
    else this.#loudestAfter = Math.max(this.#loudestAfter, power)
  }

  /** The first sample to be replaced by silence. Undefined when there is none. */
  get from(): number | undefined {
    return this.#pauseAt === undefined || this.#loudestAfter > MAX_SILENCE_POWER * this.#loudest
      ? undefined
      : this.#from
  }
}
