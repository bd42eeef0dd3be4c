/**
 * A model's media limits. The catalogue gives them; the defaults are here.
 *
 * Bytes are the encoded file's. Pixels are width times height as stored. Durations are in seconds.
 * Reference: the guide's limits for qwen3-omni-flash (the defaults below).
 */

export interface ImageLimits {
  /** Size of the encoded file, bytes. Default 10 MB. */
  readonly maxBytes?: number
  /** Length of the whole data URI, characters. Default 10 485 760. */
  readonly dataUriMaxBytes?: number
  /** Larger images are refused before they are decoded. */
  readonly maxPixels?: number
  /** Allowed images with more pixels are scaled down to this many, to limit memory and transfer. */
  readonly maxOutputPixels?: number
  /** Each side must be larger than this: with 10, 10 x 10 is refused and 11 x 11 is accepted. */
  readonly minSide?: number
  /** Longer side divided by shorter side. Default 200. */
  readonly maxAspect?: number
}

export interface AudioLimits {
  readonly maxBytes?: number
  readonly dataUriMaxBytes?: number
  readonly maxDurationSeconds?: number
  readonly minDurationSeconds?: number
}

export interface VideoLimits {
  readonly maxBytes?: number
  readonly dataUriMaxBytes?: number
  /** Pixels of one stored frame; larger videos are refused before they are decoded. */
  readonly maxPixels?: number
  readonly minSide?: number
  readonly maxAspect?: number
  readonly maxDurationSeconds?: number
  readonly minDurationSeconds?: number
  /** Frames sampled from a file, and images in a frame list. */
  readonly minFrames?: number
  readonly maxFrames?: number
  /** Frames per second at which a file is sampled, and the rate of a frame list. Default 2. */
  readonly fps?: number
  /** Each delivered frame is scaled down to at most this many pixels. */
  readonly maxFramePixels?: number
  /** Pixels of all delivered frames together. Limits memory: three bytes per pixel. */
  readonly maxTotalPixels?: number
  /** Whether an audio track that cannot be decoded is an error (the default) or only a warning. */
  readonly undecodableAudio?: 'error' | 'warn'
}

/** Limits for any kind of medium; each method uses its own. */
export type LoaderLimits = ImageLimits & AudioLimits & VideoLimits

const dataUriMaxBytes = 10_485_760

export const defaultImageLimits: Required<ImageLimits> = {
  maxBytes: 10 * 1024 * 1024,
  dataUriMaxBytes,
  maxPixels: 100_000_000,
  maxOutputPixels: 16_777_216,
  minSide: 10,
  maxAspect: 200,
}

export const defaultAudioLimits: Required<AudioLimits> = {
  maxBytes: 100 * 1024 * 1024,
  dataUriMaxBytes,
  maxDurationSeconds: 20 * 60,
  minDurationSeconds: 0,
}

export const defaultVideoLimits: Required<VideoLimits> = {
  maxBytes: 256 * 1024 * 1024,
  dataUriMaxBytes,
  maxPixels: 8192 * 4608,
  minSide: 10,
  maxAspect: 200,
  maxDurationSeconds: 150,
  minDurationSeconds: 0,
  minFrames: 4,
  maxFrames: 128,
  fps: 2,
  maxFramePixels: 1280 * 720,
  maxTotalPixels: 64 * 1024 * 1024,
  undecodableAudio: 'error',
}

/** A medium may exceed a duration limit by this, because containers round durations up to a frame. Seconds. */
export const durationTolerance = 0.1

/** `given` with missing or undefined limits taken from `defaults`. */
export function fillLimits<T extends object>(given: Partial<T>, defaults: T): T {
  const filled: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(defaults)) {
    filled[key] = (given as Record<string, unknown>)[key] ?? value
  }
  return filled as T
}
