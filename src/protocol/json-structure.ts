/**
 * The amount of structure in a JSON text, measured before it is parsed.
 *
 * A body within the size limit may still hold millions of empty lists, or be nested a million deep: parsing each costs
 * hundreds of bytes and stack. Strings are skipped, so an image in a data URI costs one search for its end.
 */

/** Lists, objects and their members. A conversation of thousands of messages has some ten thousands. */
export const MOST_VALUES = 100_000

/** Nested lists and objects. A request needs six. */
export const DEEPEST = 64

/**
 * The fault in the structure of `text`, as a message; undefined when it may be parsed. Does not check that it is JSON.
 */
export function structureFault(text: string): string | undefined {
  let depth = 0
  let values = 0
  const marks = /["[{\]},]/g
  for (let mark = marks.exec(text); mark !== null; mark = marks.exec(text)) {
    switch (mark[0]) {
      case '"':
        marks.lastIndex = endOfString(text, mark.index)
        continue
      case ']':
      case '}':
        depth -= 1
        continue
      case '[':
      case '{':
        depth += 1
        if (depth > DEEPEST) return `it is nested more than ${DEEPEST} deep.`
        break
      default:
    }
    values += 1
    if (values > MOST_VALUES) return `it holds more than ${MOST_VALUES} values.`
  }
  return undefined
}

/** The position after the string that begins at `start`; the end of the text when it is never closed. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote !== -1; quote = text.indexOf('"', quote + 1)) {
    let slashes = 0
    while (text.charCodeAt(quote - 1 - slashes) === 0x5c) slashes += 1
    if (slashes % 2 === 0) return quote + 1
  }
  return text.length
}
