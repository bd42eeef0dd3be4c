/** Checks the stored size of an image or of a video's frames against a model's limits. */

import { MediaError } from './errors.ts'
import type { ImageLimits } from './limits.ts'

type DimensionLimits = Required<Pick<ImageLimits, 'maxPixels' | 'minSide' | 'maxAspect'>>

/**
 * @param subject how the message begins
 * @throws MediaError `image_dimensions`, with the service's own text as detail
 */
export function checkDimensions(
  { width, height }: { readonly width: number; readonly height: number },
  limits: DimensionLimits,
  subject: 'The image is' | "The video's frames are",
): void {
  if (width * height > limits.maxPixels) {
    const detail = `${width} x ${height} is more than ${limits.maxPixels} pixels`
    throw new MediaError('image_dimensions', `${subject} too large: ${detail}.`, { detail })
  }
  if (Math.min(width, height) <= limits.minSide) {
    const detail = `height:${height} or width:${width} must be larger than ${limits.minSide}`
    throw new MediaError('image_dimensions', `${subject} too small: ${detail}.`, { detail })
  }
  const ratio = Math.max(width, height) / Math.min(width, height)
  if (ratio > limits.maxAspect) {
    const detail = `absolute aspect ratio must be smaller than ${limits.maxAspect}, got ${ratio}`
    throw new MediaError('image_dimensions', `${subject} too narrow: ${detail}.`, { detail })
  }
}
