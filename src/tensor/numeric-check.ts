/** Helpers of numeric device checks: reproducible numbers, and the relative error of results. */

/** A generator of numbers in [-1, 1), the same ones for the same seed. */
export function repeatableNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return state / 0x40000000 - 1
  }
}

/** Root of the squared differences over that of the squared expected values; NaN when `values` hold one. */
export function relativeError(values: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0
  let size = 0
  for (let i = 0; i < expected.length; i++) {
    const wanted = expected[i] ?? 0
    difference += ((values[i] ?? 0) - wanted) ** 2
    size += wanted ** 2
  }
  return Math.sqrt(difference / size)
}
