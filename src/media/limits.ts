/**
 * A model's media limits, given by the catalogue, with defaults from here.
 *
 * Bytes are of the encoded file. Pixels are width times height as stored. Durations are seconds.
 * Reference: the guide's limits for qwen3-omni-flash (the defaults below).
 */

export interface ImageLimits {
  /** Encoded file, bytes. 10 MB. */
  readonly maxBytes?: number
  /** The whole data URI, characters. 10 485 760. */
  readonly dataUriMaxBytes?: number
  /** Larger images are refused by their header, before a pixel is decoded. */
  readonly maxPixels?: number
  /** Larger images that are allowed are scaled down to this, so that memory and transfer stay bounded. */
  readonly maxOutputPixels?: number
  /** Each side must be larger than this: with 10, 10 x 10 is refused and 11 x 11 is accepted. */
  readonly minSide?: number
  /** Longer side over shorter side. 200. */
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
  /** Of one stored frame; larger videos are refused by their header. */
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
  /** All delivered frames together. Bounds memory: three bytes per pixel. */
  readonly maxTotalPixels?: number
  /** An audio track that cannot be decoded is an error (the default), or a warning and a silent video. */
  readonly undecodableAudio?: 'error' | 'warn'
}

/** Limits as one caller may pass them for any kind; each method uses its own. */
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

/** Containers round a duration up by part of a frame; this much over a limit is not "too long". Seconds. */
export const durationTolerance = 0.1

/** `given` over `defaults`; a key set to undefined counts as not given. */
export function fillLimits<T extends object>(given: Partial<T>, defaults: T): T {
  const filled: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(defaults)) {
    filled[key] = (given as Record<string, unknown>)[key] ?? value
  }
  return filled as T
}
