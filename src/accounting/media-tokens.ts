/**
 * Billed tokens of an image, audio or video. Pure.
 *
 * In: sizes in pixels, lengths in seconds, the family's {@link TokenRules}. Out: whole tokens.
 * Reference: "rules for turning audio, images and video into tokens" of the Qwen-Omni guide (December 2025), whose own
 * functions the goldens in `testdata/golden/tokens/` were made with.
 */
import { frameFactor, sampledFrameCount } from '../arithmetic/frame-count.ts'
import { smartResize } from '../arithmetic/smart-resize.ts'
import type { TokenRules } from '../catalogue/index.ts'

/** The two markers around an image or a video. */
const VISION_MARKS = 2

/** Tokens of one image of `width` by `height` pixels, its two markers included. */
export function imageTokens(width: number, height: number, rules: TokenRules): number {
  const { factor } = rules
  const minPixels = rules.imageMinTokens * factor * factor
  const maxPixels = rules.imageMaxTokens * factor * factor
  const [h, w] = smartResize(height, width, factor, { min: minPixels, max: maxPixels })
  return Math.trunc((h * w) / (factor * factor)) + VISION_MARKS
}

/**
 * Tokens of audio, in or out: `seconds` times the family's rate, at least one second's. The guide does not
 * say how fractions of a token are rounded; they are rounded up.
 */
export function audioTokens(seconds: number, rules: TokenRules): number {
  const counted = Math.max(seconds, rules.audioMinSeconds)
  return Math.ceil(counted * rules.audioPerSecond - 1e-6)
}

/** Why a video has no token count: too few frames, or too long and thin. */
export class VideoShapeError extends Error {
  override readonly name = 'VideoShapeError'
}

/**
 * How many frames of a video are sampled.
 * @throws VideoShapeError when the video has fewer than two frames.
 */
export function sampledFrames(totalFrames: number, framesPerSecond: number, rules: TokenRules): number {
  const count = sampledFrameCount(totalFrames, framesPerSecond, rules.video)
  if (count === undefined)
    throw new VideoShapeError(
      `a video needs at least ${frameFactor} sampled frames and over half a second, this one has ${totalFrames} frames at ${framesPerSecond} a second`,
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

/** Tokens of `frames` frames of `width` by `height` pixels, the two markers included. @throws VideoShapeError */
export function frameListTokens(width: number, height: number, frames: number, rules: TokenRules): number {
  const [h, w] = videoFrameSize(width, height, frames, rules)
  const { factor } = rules
  return Math.trunc((((Math.ceil(frames / frameFactor) * h) / factor) * w) / factor) + VISION_MARKS
}

export interface VideoShape {
  readonly width: number
  readonly height: number
  readonly totalFrames: number
  readonly framesPerSecond: number
}

/** Tokens of a video file's frames; its audio is counted by {@link audioTokens}. @throws VideoShapeError */
export function videoTokens(video: VideoShape, rules: TokenRules): number {
  const frames = sampledFrames(video.totalFrames, video.framesPerSecond, rules)
  return frameListTokens(video.width, video.height, frames, rules)
}
