/**
 * The size an image or frame is resized to: sides divisible by a factor, area within limits, shape nearly kept.
 *
 * Reference: transformers `smart_resize` of Qwen2VLImageProcessor.
 */

import { EngineError } from '../contract/index.ts'

/** Pixels an image may have after resizing. */
export interface PixelLimits {
  readonly min: number
  readonly max: number
}

/** Returns [height, width]. Throws `unsupported` when one side is over 200 times the other. */
export function smartResize(height: number, width: number, factor: number, limits: PixelLimits): [number, number] {
  const aspect = Math.max(height, width) / Math.min(height, width)
  if (!(aspect <= 200)) {
    throw new EngineError(
      'unsupported',
      `an image of ${width}x${height} pixels is too long and thin: one side may be at most 200 times the other`,
      { param: 'messages' },
    )
  }
  let h = roundHalfEven(height / factor) * factor
  let w = roundHalfEven(width / factor) * factor
  if (h * w > limits.max) {
    const beta = Math.sqrt((height * width) / limits.max)
    h = Math.max(factor, Math.floor(height / beta / factor) * factor)
    w = Math.max(factor, Math.floor(width / beta / factor) * factor)
  } else if (h * w < limits.min) {
    const beta = Math.sqrt(limits.min / (height * width))
    h = Math.ceil((height * beta) / factor) * factor
    w = Math.ceil((width * beta) / factor) * factor
  }
  return [h, w]
}

/** Python's `round`. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest !== 0.5) return Math.round(value)
  return floor % 2 === 0 ? floor : floor + 1
}
