/**
 * Seeded random numbers for sampling, equal on all platforms.
 *
 * In: a request's seed and a stream number (one stream per sampled stage, so that results do not depend on how stages
 * interleave). Out: doubles in [0, 1). Reference: sfc32 (Chris Doty-Humphrey, PractRand), seeded through splitmix32.
 */

/** Returns the next number in [0, 1), with 53 random bits. */
export type Random = () => number

/** The stream of a request's text. Streams of speech have numbers from 2. */
export const textStream = 1

/**
 * A generator for one stream of one seed.
 * @param seed any finite number; its integer part modulo 2^53 is used.
 * @param stream distinguishes generators of the same seed.
 */
export function createRandom(seed: number, stream: number): Random {
  const whole = Math.abs(Math.trunc(seed)) % Number.MAX_SAFE_INTEGER
  let mixer = (whole >>> 0) ^ Math.imul(stream, 0x9e3779b9)
  const high = Math.floor(whole / 2 ** 32)
  const mix = (): number => {
    mixer = (mixer + 0x9e3779b9) | 0
    let value = mixer ^ (mixer >>> 16)
    value = Math.imul(value, 0x21f0aaad)
    value ^= value >>> 15
    value = Math.imul(value, 0x735a2d97)
    return value ^ (value >>> 15)
  }
  let a = mix() ^ high
  let b = mix() ^ stream
  let c = mix() ^ (seed < 0 ? 1 : 0)
  let counter = 1
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + sum) | 0
    return sum >>> 0
  }
  for (let round = 0; round < 12; round += 1) next()
  return () => ((next() >>> 5) * 67_108_864 + (next() >>> 6)) / 9_007_199_254_740_992
}
