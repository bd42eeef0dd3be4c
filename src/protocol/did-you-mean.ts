/** A name among others that was probably meant, for error texts: `""` or ` Did you mean 'x'?`. */
export function didYouMean(given: string, known: readonly string[]): string {
  const wanted = given.toLowerCase()
  const close =
    known.find((name) => name.toLowerCase() === wanted) ?? known.find((name) => isNear(name.toLowerCase(), wanted))
  return close === undefined ? '' : ` Did you mean '${close}'?`
}

function isNear(name: string, wanted: string): boolean {
  if (wanted.length < 3) return false
  if (name.startsWith(wanted) || wanted.startsWith(name)) return true
  return distance(name, wanted) <= Math.max(1, Math.floor(wanted.length / 4))
}

/** Edit distance of two short texts; two letters in the wrong order count once (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      const turned = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, swap, turned ? before[j - 2]! + 1 : Infinity))
    }
    before = row
    row = next
  }
  return row[b.length]!
}
