/**
 * The size to which an image or frame is resized: sides divisible by a factor, area within limits, and nearly the same
 * aspect ratio. Pure.
 *
 * Reference: `smart_resize` of transformers' Qwen2VLImageProcessor, of qwen-omni-utils, and of the Qwen-Omni guide
 * (December 2025), which differ only in how they keep a thin image's side from becoming 0.
 */

import { roundHalfEven } from './half-even.ts'

/** Pixels an image may have afterwards. */
export interface PixelLimits {
  readonly min: number
  readonly max: number
}

/**
 * Returns [height, width], in pixels.
 * @param atLeastFactor where a side is kept from becoming 0: when rounding, or when shrinking.
 */
export function smartResize(
  height: number,
  width: number,
  factor: number,
  { min, max }: PixelLimits,
  atLeastFactor?: 'rounding' | 'shrinking',
): [number, number] {
  const kept = (side: number, where: typeof atLeastFactor): number =>
    where === atLeastFactor ? Math.max(factor, side) : side
  const h = kept(roundHalfEven(height / factor) * factor, 'rounding')
  const w = kept(roundHalfEven(width / factor) * factor, 'rounding')
  if (h * w > max) {
    const beta = Math.sqrt((height * width) / max)
    const shrunk = (side: number): number => kept(Math.floor(side / beta / factor) * factor, 'shrinking')
    return [shrunk(height), shrunk(width)]
  }
  if (h * w < min) {
    const beta = Math.sqrt(min / (height * width))
    const grown = (side: number): number => Math.ceil((side * beta) / factor) * factor
    return [grown(height), grown(width)]
  }
  return [h, w]
}
