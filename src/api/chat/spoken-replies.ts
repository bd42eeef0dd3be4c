/**
 * The texts of spoken replies by the id of their audio, for assistant turns that refer to it. Bounded; a caller finds
 * only its own.
 */

const MOST = 2000
const MOST_CHARACTERS = 4_000_000

export class SpokenReplies {
  readonly #texts = new Map<string, string>()
  #characters = 0

  /** `audioId` is `audio_` and the request's uuid. */
  put(caller: string, audioId: string, text: string): void {
    this.#texts.set(`${caller} ${audioId}`, text)
    this.#characters += text.length
    for (const [key, old] of this.#texts) {
      if (this.#texts.size <= MOST && this.#characters <= MOST_CHARACTERS) break
      this.#texts.delete(key)
      this.#characters -= old.length
    }
  }

  get(caller: string, audioId: string): string | undefined {
    return this.#texts.get(`${caller} ${audioId}`)
  }
}
