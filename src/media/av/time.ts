/** FFmpeg's rational time stamps as seconds. */
import { AV_NOPTS_VALUE } from 'node-av/constants'

export interface RationalLike {
  readonly num: number
  readonly den: number
}

/** Seconds, or undefined where the container has none. */
export function seconds(timestamp: bigint, base: RationalLike): number | undefined {
  if (timestamp === AV_NOPTS_VALUE || base.den === 0) return undefined
  return (Number(timestamp) * base.num) / base.den
}

/** A positive, finite rate, or undefined. */
export function rate({ num, den }: RationalLike): number | undefined {
  const value = num / den
  return den !== 0 && Number.isFinite(value) && value > 0 ? value : undefined
}
