/** The texts of spoken replies by the id of their audio, for assistant turns that cite it. Bounded; a caller finds its own only. */

const MOST = 2000

export class SpokenReplies {
  readonly #texts = new Map<string, string>()

  /** `audioId` is `audio_` and the request's uuid. */
  put(caller: string, audioId: string, text: string): void {
    if (this.#texts.size >= MOST) this.#texts.delete(this.#texts.keys().next().value ?? '')
    this.#texts.set(`${caller} ${audioId}`, text)
  }

  get(caller: string, audioId: string): string | undefined {
    return this.#texts.get(`${caller} ${audioId}`)
  }
}
