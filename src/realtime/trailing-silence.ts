/**
 * The silence that a turn ends in: where it begins, and when the turn ends unless somebody speaks.
 *
 * In: the windows of a turn in order, each with the pause it belongs to. Out: the first sample that is given as
 * silence, so that a turn's audio is known before the turn is over. What is loud without being speech is given as it
 * is.
 */
import type { Pause } from './voice-activity/turn-detector.ts'

/** 192 ms of a pause are given as they are: quiet ends of words lie there. */
const KEPT_WINDOWS = 6

/** In power: 20 dB under the loudest window. */
const QUIET = 0.01

export class TrailingSilence {
  #pauseAt: number | undefined
  #from = 0
  /** Mean power of the loudest window before `#from`, and from there on. */
  #loudest = 0
  #rest = 0

  /** Begins with the next turn. */
  reset(): void {
    this.#pauseAt = undefined
    this.#loudest = 0
    this.#rest = 0
  }

  /** Takes the window that begins at `at`. */
  push(at: number, window: Float32Array, pause: Pause | undefined): void {
    const power = window.reduce((sum, sample) => sum + sample * sample, 0) / window.length
    if (pause?.since !== this.#pauseAt) {
      this.#pauseAt = pause?.since
      this.#from = pause === undefined ? 0 : pause.since + KEPT_WINDOWS * window.length
      this.#loudest = Math.max(this.#loudest, this.#rest)
      this.#rest = 0
    }
    if (this.#pauseAt === undefined || at < this.#from) this.#loudest = Math.max(this.#loudest, power)
    else this.#rest = Math.max(this.#rest, power)
  }

  /** The first sample that is given as silence. Undefined while there is none. */
  get from(): number | undefined {
    return this.#pauseAt === undefined || this.#rest > QUIET * this.#loudest ? undefined : this.#from
  }
}
