/**
 * How many tokens a picture, a sound or a clip is billed as. Pure.
 *
 * In: sizes in pixels, lengths in seconds, the family's {@link TokenRules}. Out: whole tokens.
 * Reference: "rules for turning audio, images and video into tokens" of the Qwen-Omni guide (December 2025), whose own
 * functions the goldens in `testdata/golden/tokens/` were made with.
 */
import { frameFactor, sampledFrameCount } from '../arithmetic/frame-count.ts'
import { smartResize } from '../arithmetic/smart-resize.ts'
import type { TokenRules } from '../catalogue/index.ts'

/** The two marks around a picture or a clip. */
const VISION_MARKS = 2

/** Tokens of one picture of `width` by `height` pixels, its two marks included. */
export function imageTokens(width: number, height: number, rules: TokenRules): number {
  const { factor } = rules
  const minPixels = rules.imageMinTokens * factor * factor
  const maxPixels = rules.imageMaxTokens * factor * factor
  const [h, w] = smartResize(height, width, factor, { min: minPixels, max: maxPixels })
  return Math.trunc((h * w) / (factor * factor)) + VISION_MARKS
}

/**
 * Tokens of a sound, in or out: `seconds` times the family's rate, a short one counted as a second. The guide does not
 * say how parts of a token are rounded; they are rounded up.
 */
export function audioTokens(seconds: number, rules: TokenRules): number {
  const counted = Math.max(seconds, rules.audioMinSeconds)
  return Math.ceil(counted * rules.audioPerSecond - 1e-6)
}

/** Why a clip has no token count: too few frames, or too long and thin. */
export class VideoShapeError extends Error {
  override readonly name = 'VideoShapeError'
}

/**
 * How many frames of a clip are looked at.
 * @throws VideoShapeError when the clip has fewer than two frames.
 */
export function sampledFrames(totalFrames: number, framesPerSecond: number, rules: TokenRules): number {
  const count = sampledFrameCount(totalFrames, framesPerSecond, rules.video)
  if (count === undefined)
    throw new VideoShapeError(
      `a clip needs at least ${frameFactor} frames to look at and over half a second, this one has ${totalFrames} frames at ${framesPerSecond} a second`,
    )
  return count
}

/** The size each of `frames` frames is brought to, `[height, width]` in pixels. @throws VideoShapeError */
export function videoFrameSize(
  width: number,
  height: number,
  frames: number,
  rules: TokenRules,
): readonly [height: number, width: number] {
  const { factor } = rules
  const area = factor * factor
  const minPixels = rules.video.minTokens * area
  const maxPixels = Math.max(
    Math.min(rules.video.maxTokens * area, ((rules.video.totalTokens * area) / frames) * frameFactor),
    Math.trunc(minPixels * 1.05),
  )
  const ratio = Math.max(height, width) / Math.min(height, width)
  if (ratio > rules.video.maxAspectRatio) {
    throw new VideoShapeError(`the aspect ratio should be at most ${rules.video.maxAspectRatio}:1, it is ${ratio}:1`)
  }
  return smartResize(height, width, factor, { min: minPixels, max: maxPixels }, 'rounding')
}

/** Tokens of what is seen in `frames` frames of `width` by `height` pixels, the two marks included. @throws VideoShapeError */
export function frameListTokens(width: number, height: number, frames: number, rules: TokenRules): number {
  const [h, w] = videoFrameSize(width, height, frames, rules)
  const { factor } = rules
  return Math.trunc((((Math.ceil(frames / frameFactor) * h) / factor) * w) / factor) + VISION_MARKS
}

export interface ClipShape {
  readonly width: number
  readonly height: number
  readonly totalFrames: number
  readonly framesPerSecond: number
}

/** Tokens of what is seen in a clip file; its sound is counted by {@link audioTokens}. @throws VideoShapeError */
export function videoTokens(clip: ClipShape, rules: TokenRules): number {
  const frames = sampledFrames(clip.totalFrames, clip.framesPerSecond, rules)
  return frameListTokens(clip.width, clip.height, frames, rules)
}
