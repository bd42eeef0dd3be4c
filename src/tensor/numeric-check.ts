/** Numeric checks of devices: reproducible numbers, and the relative error of a result. */

/** A generator of numbers in [-1, 1): the same sequence for the same seed. */
export function repeatableNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return state / 0x40000000 - 1
  }
}

/** Euclidean norm of the differences, divided by the norm of `expected`. NaN when `values` contains a NaN. */
export function relativeError(values: ArrayLike<number>, expected: ArrayLike<number>): number {
  let differences = 0
  let total = 0
  for (let i = 0; i < expected.length; i++) {
    const value = expected[i] ?? 0
    differences += ((values[i] ?? 0) - value) ** 2
    total += value ** 2
  }
  return Math.sqrt(differences / total)
}
