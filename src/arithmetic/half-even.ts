/**
 * Rounds to the nearest whole number, halves to the even one, as Python's `round` does and the guide's code relies on.
 */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest < 0.5) return floor
  if (rest > 0.5) return floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}
