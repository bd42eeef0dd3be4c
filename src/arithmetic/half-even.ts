/**
 * Rounds to the nearest integer, and halves to the even one, like Python's `round`, which the guide's code uses.
 */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest < 0.5) return floor
  if (rest > 0.5) return floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}
