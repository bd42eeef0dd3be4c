/**
 * Token counts of recent texts: a conversation sends its history again with every turn. The oldest are evicted first.
 */
export class SeenTexts {
  readonly #counts = new Map<string, number>()
  readonly #most: number
  #size = 0

  /** `most`: UTF-16 units of all texts together. */
  constructor(most: number) {
    this.#most = most
  }

  get(text: string): number | undefined {
    const count = this.#counts.get(text)
    if (count === undefined) return undefined
    // Moved to the end: the latest.
    this.#counts.delete(text)
    this.#counts.set(text, count)
    return count
  }

  /** Stores a count and returns it. A text that would evict most others is not stored. */
  keep(text: string, count: number): number {
    if (text.length > this.#most / 4) return count
    if (!this.#counts.has(text)) this.#size += text.length
    this.#counts.set(text, count)
    for (const oldest of this.#counts.keys()) {
      if (this.#size <= this.#most) break
      this.#counts.delete(oldest)
      this.#size -= oldest.length
    }
    return count
  }
}
