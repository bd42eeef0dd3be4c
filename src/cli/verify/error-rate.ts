/** Edit distance of texts, in words for English and in characters for Chinese. */

/** Splits a text into lower-case words, numbers and single Chinese characters, without punctuation. */
export function units(text: string): string[] {
  return (
    text
      .toLowerCase()
      .replaceAll('’', "'")
      .match(/[\u4E00-\u9FFF]|[\p{L}\p{N}']+/gu) ?? []
  )
}

/** Edit distance: insertions, deletions and replacements between `wanted` and `got`. */
export function edits(wanted: string, got: string): number {
  const from = units(got)
  let row = Array.from({ length: from.length + 1 }, (_, i) => i)
  for (const [i, unit] of units(wanted).entries()) {
    const next = [i + 1]
    for (const [j, other] of from.entries())
      next.push(Math.min(row[j + 1]! + 1, next[j]! + 1, row[j]! + Number(unit !== other)))
    row = next
  }
  return row[from.length]!
}

/** The quoted words of a reply such as `It says: "..."`; else the whole text. */
export function quoted(text: string): string {
  return /[:：]\s*["'“‘「](.+)["'”’」]\s*[.。]?\s*$/s.exec(text)?.[1] ?? text
}
