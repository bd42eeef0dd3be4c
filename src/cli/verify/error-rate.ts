/** The error rate of a text: words of English, characters of Chinese. */

/** Lower-case words and numbers, single Chinese characters; no punctuation. */
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

/** Only the words, where a reply quotes them after an introduction: `It says: "..."`. */
export function quoted(text: string): string {
  return /[:：]\s*["'“‘「](.+)["'”’」]\s*[.。]?\s*$/s.exec(text)?.[1] ?? text
}
