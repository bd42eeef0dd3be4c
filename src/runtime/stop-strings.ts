/**
 * Cuts a streamed reply at its stop strings, so that no part of one is sent.
 *
 * In: pieces of text. Out: the text that is safe to send. A possible start of a stop string is held back until more
 * text arrives. Matching is on UTF-16 code units, as in `String.prototype.indexOf`.
 */

export interface StopStrings {
  /**
   * Adds text. Returns the text that is safe to send, and whether a stop string was found: `text` then ends before it,
   * and no call may follow.
   */
  push(text: string): { text: string; stopped: boolean }
  /** Returns the text that was held back, when the reply ends without a stop string. */
  flush(): string
}

/** @param stops texts that end the reply; empty ones are ignored. */
export function createStopStrings(stops: readonly string[]): StopStrings {
  const needles = stops.filter((stop) => stop.length > 0)
  let held = ''
  return {
    push(text) {
      if (needles.length === 0) return { text, stopped: false }
      held += text
      let cut = -1
      for (const needle of needles) {
        const at = held.indexOf(needle)
        if (at >= 0 && (cut < 0 || at < cut)) cut = at
      }
      if (cut >= 0) {
        const before = held.slice(0, cut)
        held = ''
        return { text: before, stopped: true }
      }
      const keep = Math.max(...needles.map((needle) => overlap(held, needle)))
      const safe = held.slice(0, held.length - keep)
      held = held.slice(held.length - keep)
      return { text: safe, stopped: false }
    },
    flush() {
      const text = held
      held = ''
      return text
    },
  }
}

/** Length of the longest suffix of `text` that is a proper prefix of `needle`. */
function overlap(text: string, needle: string): number {
  for (let length = Math.min(text.length, needle.length - 1); length > 0; length -= 1) {
    if (needle.startsWith(text.slice(text.length - length))) return length
  }
  return 0
}
