/**
 * Chooses the frames of a video to decode; `sampledFrameCount` is their number. Pure.
 *
 * They are evenly spaced from the first to the last, as in Qwen's `qwen-omni-utils` (`torch.linspace(0, total - 1,
 * n).round()`), with the same rounding: single precision, computed from both ends, halves to even.
 */

import { roundHalfEven } from '../../arithmetic/half-even.ts'

/** Indices of `count` frames out of `totalFrames`, ascending, first and last included. */
export function sampledFrameIndices(totalFrames: number, count: number): number[] {
  const last = totalFrames - 1
  if (count === 1) return [0]
  const step = Math.fround(last / (count - 1))
  const half = Math.trunc(count / 2)
  return Array.from({ length: count }, (_, i) =>
    roundHalfEven(i < half ? Math.fround(step * i) : Math.fround(last - Math.fround(step * (count - i - 1)))),
  )
}
