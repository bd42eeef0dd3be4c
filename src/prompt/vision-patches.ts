/**
 * Converts pixels to flattened patches for the vision encoder.
 *
 * In: one image, or a video's frames, upright. Out: rows [t * h * w, channels * temporal * patch * patch] in the
 * encoder's merge order (each square of merge * merge patches is consecutive), with 8 bits per value.
 *
 * Reference: transformers `Qwen2VLImageProcessor` and `Qwen2VLVideoProcessor`.
 */

import { type PixelLimits, smartResize } from '../arithmetic/smart-resize.ts'
import { EngineError, type RgbImage } from '../contract/index.ts'
import { type ResizeStyle, resizeBicubic } from './bicubic-resize.ts'
import { createYield } from './event-loop-yield.ts'
import { BytePatches, type PatchValues, type PixelScale } from './patch-values.ts'

/** From preprocessor_config.json. */
export interface VisionFeatureConfig extends PixelScale {
  readonly patchSize: number
  readonly temporalPatchSize: number
  readonly mergeSize: number
  readonly limits: PixelLimits
  readonly resize: ResizeStyle
  /** Pixel budget that the frames of a video share. Undefined: none. */
  readonly videoTokens?: number
}

/** Highest aspect ratio of an image, as in transformers. */
const thinnest = 200

/** [t, h, w] in patches. */
export type Grid = readonly [number, number, number]

/** The grid of one image (`frames` 1) or video. Throws `unsupported` for impossible shapes. */
export function visionGrid(height: number, width: number, frames: number, config: VisionFeatureConfig): Grid {
  const factor = config.patchSize * config.mergeSize
  if (!(Math.max(height, width) <= thinnest * Math.min(height, width)))
    throw new EngineError(
      'unsupported',
      `an image of ${width}x${height} pixels is too long and thin: one side may be at most ${thinnest} times the other`,
      { param: 'messages' },
    )
  const [h, w] = smartResize(height, width, factor, frameLimits(frames, config), 'shrinking')
  return [Math.ceil(frames / config.temporalPatchSize), h / config.patchSize, w / config.patchSize]
}

/** Placeholder tokens of a grid. */
export function gridTokens([t, h, w]: Grid, mergeSize: number): number {
  return t * Math.floor(h / mergeSize) * Math.floor(w / mergeSize)
}

function frameLimits(frames: number, config: VisionFeatureConfig): PixelLimits {
  const { limits, videoTokens } = config
  if (videoTokens === undefined) return limits
  const factor = config.patchSize * config.mergeSize
  const budget = Math.trunc(videoTokens * factor * factor * 0.9)
  const share = Math.floor((budget * config.temporalPatchSize) / frames)
  return { min: limits.min, max: Math.max(Math.min(limits.max, share), Math.trunc(limits.min * 1.05)) }
}

/**
 * Resizes and flattens. The last frame is repeated until the count is a multiple of the temporal patch. All frames must
 * have the same size. Each is removed from `frames` when it is used, so that its pixels can be freed. Yields to the
 * event loop. Throws the signal's reason.
 */
export async function visionPatches(
  frames: RgbImage[],
  config: VisionFeatureConfig,
  signal?: AbortSignal,
): Promise<{ patches: PatchValues; grid: Grid }> {
  const count = frames.length
  const grid = visionGrid(frames[0]!.height, frames[0]!.width, count, config)
  const [t, h, w] = grid
  const { patchSize: patch, temporalPatchSize: temporal, mergeSize: merge } = config
  const width = w * patch
  const height = h * patch
  const plane = patch * patch
  const row = 3 * temporal * plane
  const patches = new Uint8Array(t * h * w * row)
  const yieldIfDue = createYield(signal)
  for (let frame = 0; frame < t * temporal; frame++) {
    if (frame >= count) {
      // Repeats of the last frame are in the same patches, so its plane is copied.
      repeatFrame(patches, grid, frame, temporal, plane)
      continue
    }
    const { data } = await resizeBicubic(frames.shift()!, width, height, config.resize, signal)
    const inTemporal = frame % temporal
    let index = Math.floor(frame / temporal) * h * w * row
    for (let blockY = 0; blockY < h / merge; blockY++) {
      const pause = yieldIfDue()
      if (pause !== undefined) await pause
      for (let blockX = 0; blockX < w / merge; blockX++) {
        for (let inBlock = 0; inBlock < merge * merge; inBlock++, index += row) {
          const top = (blockY * merge + Math.floor(inBlock / merge)) * patch
          const left = (blockX * merge + (inBlock % merge)) * patch
          for (let channel = 0; channel < 3; channel++) {
            let to = index + (channel * temporal + inTemporal) * plane
            for (let y = 0; y < patch; y++) {
              let from = ((top + y) * width + left) * 3 + channel
              for (let x = 0; x < patch; x++, from += 3) patches[to++] = data[from]!
            }
          }
        }
      }
    }
  }
  return { patches: new BytePatches(patches, temporal * plane, config), grid }
}

/** Copies the preceding plane to `frame` in each of its patches. */
function repeatFrame(patches: Uint8Array, [, h, w]: Grid, frame: number, temporal: number, plane: number): void {
  const row = 3 * temporal * plane
  const start = Math.floor(frame / temporal) * h * w * row
  const inTemporal = frame % temporal
  for (let patch = 0; patch < h * w; patch++) {
    for (let channel = 0; channel < 3; channel++) {
      const to = start + patch * row + (channel * temporal + inTemporal) * plane
      patches.copyWithin(to, to - plane, to)
    }
  }
}
