/**
 * Cuts a streamed reply at its stop strings, so that no part of one is ever sent.
 *
 * In: text as it grows. Out: the text that is safe to send now. A possible beginning of a stop string is held back
 * until the next text decides. Pure; the matching is on UTF-16 code units, as `String.prototype.indexOf`.
 */

export interface StopStrings {
  /**
   * Text that may be sent now, and whether a stop string has been met (the text before it is in `text`; call no more).
   */
  push(text: string): { text: string; stopped: boolean }
  /** What was held back, when the reply ends for another reason. */
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

/** Length of the longest end of `text` that begins `needle` (and is not all of it). */
function overlap(text: string, needle: string): number {
  for (let length = Math.min(text.length, needle.length - 1); length > 0; length -= 1) {
    if (needle.startsWith(text.slice(text.length - length))) return length
  }
  return 0
}
