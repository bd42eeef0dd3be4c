/**
 * How much of a spoken reply has been played, by the clock: audio is sent faster than it is played.
 *
 * In: what was sent and when. Out: milliseconds played, and the matching text. Text runs ahead of the audio, so its
 * duration is estimated: 65 ms a letter, 220 ms a Han character.
 */

const LETTER_MS = 65
const HAN_MS = 220

const WORD_END = /(?!\p{Script=Han})[\p{L}\p{N}]$/u
const WORD_START = /^(?!\p{Script=Han})[\p{L}\p{N}]/u

export class Playback {
  #firstAt: number | undefined
  #sentMs = 0

  get sentMs(): number {
    return this.#sentMs
  }

  /** Records so much audio, sent at `now`. */
  sent(milliseconds: number, now: number): void {
    this.#firstAt ??= now
    this.#sentMs += milliseconds
  }

  playedMs(now: number): number {
    return this.#firstAt === undefined ? 0 : Math.min(this.#sentMs, Math.max(0, now - this.#firstAt))
  }
}

/** The beginning of `text` that takes `playedMs` to say. `wholeMs`: duration of the whole, where known. */
export function playedText(text: string, playedMs: number, wholeMs: number | undefined): string {
  const characters = Array.from(text)
  const weights = characters.map((character) => (/\p{Script=Han}/u.test(character) ? HAN_MS : LETTER_MS))
  const estimate = weights.reduce((sum, weight) => sum + weight, 0)
  const scale = wholeMs === undefined || estimate === 0 ? 1 : wholeMs / estimate
  let spent = 0
  let end = 0
  while (end < characters.length && spent + weights[end]! * scale <= playedMs + 1) {
    spent += weights[end]! * scale
    end += 1
  }
  if (end === characters.length) return text
  const kept = characters.slice(0, end).join('')
  // Not in the middle of a word, where words are separated.
  const cutsWord = WORD_END.test(kept) && WORD_START.test(characters[end]!)
  return cutsWord ? kept.replace(/[\p{L}\p{N}'’-]+$/u, '').trimEnd() : kept
}
