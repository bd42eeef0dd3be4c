/**
 * Estimates how much of a spoken reply the client has played. Audio is sent faster than it is played.
 *
 * In: the duration and time of sent audio. Out: milliseconds played, and the matching text. Text arrives before its
 * audio, so its duration is estimated: 65 ms per letter, 220 ms per Han character.
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

  /** Records `milliseconds` of audio sent at `now`. */
  sent(milliseconds: number, now: number): void {
    this.#firstAt ??= now
    this.#sentMs += milliseconds
  }

  playedMs(now: number): number {
    return this.#firstAt === undefined ? 0 : Math.min(this.#sentMs, Math.max(0, now - this.#firstAt))
  }
}

/** The start of `text` that is spoken in `playedMs`. `wholeMs`: duration of the whole text, if known. */
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
  // In scripts that separate words, a partial word is removed.
  const cutsWord = WORD_END.test(kept) && WORD_START.test(characters[end]!)
  return cutsWord ? kept.replace(/[\p{L}\p{N}'’-]+$/u, '').trimEnd() : kept
}
