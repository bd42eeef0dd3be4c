/**
 * Media of a request, accepted by the API server.
 *
 * A medium has the facts from its header, and access to its bytes. An engine that runs a model calls `decode()` for
 * pixels or samples; an engine that forwards requests calls `bytes()`; token counting needs only the facts.
 */

export type InputModality = 'text' | 'image' | 'audio' | 'video'
export type OutputModality = 'text' | 'audio'

/** Interleaved 8-bit RGB pixels, row-major, `data.length === width * height * 3`, EXIF orientation already applied. */
export interface RgbImage {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array
}

/** Mono PCM in [-1, 1] at `sampleRate` Hz. The API server always provides 16,000 Hz. */
export interface MonoPcm {
  readonly sampleRate: number
  readonly samples: Float32Array
}

/**
 * Sampled frames of a video, in time order, all of the same size. `timestamps[i]`: seconds from the start of the video.
 */
export interface VideoFrames {
  readonly frames: readonly RgbImage[]
  readonly timestamps: readonly number[]
  /** Sampling rate of the frames, frames per second. Default of requests: 2. */
  readonly fps: number
  /** The video's audio track, if it has one. */
  readonly audio?: MonoPcm
}

/** `width` and `height`: of the decoded image, pixels. `source*`: of the file, with its orientation applied. */
export interface ImageFacts {
  readonly width: number
  readonly height: number
  readonly sourceWidth: number
  readonly sourceHeight: number
}

export interface AudioFacts {
  /** Rate of the decoded audio, Hz. */
  readonly sampleRate: number
  /** Number of decoded samples. */
  readonly samples: number
}

export interface VideoFacts extends ImageFacts {
  /** Number of decoded frames, and their sampling rate. */
  readonly frames: number
  readonly fps: number
  /** Length of the file, or of a frame list at its rate, seconds. */
  readonly seconds: number
  /** Frames of the file and their rate; 0 if the container has neither. Absent for a frame list. */
  readonly source?: { readonly frames: number; readonly fps: number }
  readonly audio?: AudioFacts
}

/** One file as it was uploaded or downloaded. */
export interface MediaFile {
  /** Determined from the bytes, such as `image/png`, not from a server's header. */
  readonly mimeType: string
  readonly size: number
  /** Reads the whole file. Rejects with the signal's reason once aborted. */
  bytes(signal?: AbortSignal): Promise<Uint8Array>
}

interface Medium<Kind extends 'image' | 'audio' | 'video', Facts, Decoded> {
  readonly kind: Kind
  /**
   * One file, or several for a video as a list of images. Empty inside an engine that has no access to the bytes.
   */
  readonly files: readonly MediaFile[]
  readonly facts: Facts
  /**
   * Whether `facts` are certain to match the result of `decode()`. False for a header that may be wrong: a truncated
   * file, a variable rate.
   */
  readonly exact: boolean
  /**
   * Identifies the decoded content: a digest of the bytes and of all settings that affect `decode()`. Media with equal
   * keys decode to equal pixels and samples.
   */
  readonly contentKey: string
  /**
   * Decodes to pixels or samples. Concurrent callers share one result, which `release()` frees. Rejects for a broken
   * file with an error that engines pass on unchanged, and with the signal's reason once aborted.
   */
  decode(signal?: AbortSignal): Promise<Decoded>
  /** Frees decoded data. `decode()` may be called again. */
  release(): void
}

export type ImageMedium = Medium<'image', ImageFacts, RgbImage>
export type AudioMedium = Medium<'audio', AudioFacts, MonoPcm>
export type VideoMedium = Medium<'video', VideoFacts, VideoFrames>
export type AnyMedium = ImageMedium | AudioMedium | VideoMedium
