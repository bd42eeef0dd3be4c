/**
 * Half-precision numbers as 16-bit patterns, for masks and values that TypeScript prepares.
 *
 * Reference: IEEE 754 binary16; rounding is to nearest even.
 */

const scratch = new Float32Array(1)
const bits = new Uint32Array(scratch.buffer)

/** Bit pattern of -infinity in f16. */
export const HALF_NEGATIVE_INFINITY = 0xfc00

/** The f16 bit pattern nearest to a number; infinity beyond the range. */
export function toHalf(value: number): number {
  scratch[0] = value
  const x = bits[0] ?? 0
  const sign = (x >>> 16) & 0x8000
  const exponent = (x >>> 23) & 0xff
  let mantissa = x & 0x7fffff
  if (exponent === 0xff) return sign | 0x7c00 | (mantissa ? 0x200 : 0)
  const e = exponent - 112
  if (e >= 31) return sign | 0x7c00
  if (e <= 0) {
    if (e < -10) return sign
    mantissa |= 0x800000
    const shift = 14 - e
    const half = mantissa >>> shift
    const rest = mantissa & ((1 << shift) - 1)
    const middle = 1 << (shift - 1)
    return sign | (half + (rest > middle || (rest === middle && half & 1) ? 1 : 0))
  }
  const half = (e << 10) | (mantissa >>> 13)
  const rest = mantissa & 0x1fff
  return sign | (half + (rest > 0x1000 || (rest === 0x1000 && half & 1) ? 1 : 0))
}

/** The number of an f16 bit pattern. */
export function fromHalf(half: number): number {
  const exponent = (half >>> 10) & 31
  const mantissa = half & 0x3ff
  const magnitude =
    exponent === 0
      ? mantissa * 2 ** -24
      : exponent === 31
        ? mantissa
          ? Number.NaN
          : Number.POSITIVE_INFINITY
        : (1 + mantissa / 1024) * 2 ** (exponent - 15)
  return half & 0x8000 ? -magnitude : magnitude
}

/** f32 to f16 bit patterns. */
export function toHalfArray(values: Float32Array): Uint16Array {
  const halves = new Uint16Array(values.length)
  for (let i = 0; i < values.length; i++) halves[i] = toHalf(values[i] ?? 0)
  return halves
}

/** f16 bit patterns to f32. */
export function fromHalfArray(halves: Uint16Array): Float32Array {
  const values = new Float32Array(halves.length)
  for (let i = 0; i < halves.length; i++) values[i] = fromHalf(halves[i] ?? 0)
  return values
}

/** bf16 bit patterns to f32: the same bits, shifted. */
export function fromBfloat16Array(patterns: Uint16Array): Float32Array {
  const values = new Float32Array(patterns.length)
  const words = new Uint32Array(values.buffer)
  for (let i = 0; i < patterns.length; i++) words[i] = (patterns[i] ?? 0) << 16
  return values
}
