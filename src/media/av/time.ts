/** FFmpeg's rational numbers: timestamps in seconds, and ratios. */
import { AV_NOPTS_VALUE } from 'node-av/constants'

export interface Rational {
  readonly num: number
  readonly den: number
}

/** A timestamp in seconds, or undefined where the container has none. */
export function toSeconds(timestamp: bigint, base: Rational): number | undefined {
  if (timestamp === AV_NOPTS_VALUE || base.den === 0) return undefined
  return (Number(timestamp) * base.num) / base.den
}

/** A positive, finite ratio such as a frame rate or a pixel aspect, or undefined. */
export function toRatio({ num, den }: Rational): number | undefined {
  const value = num / den
  return den !== 0 && Number.isFinite(value) && value > 0 ? value : undefined
}
