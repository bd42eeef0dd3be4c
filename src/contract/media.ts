/**
 * Media of a request, as the API server accepted them.
 *
 * A medium carries what its header says and where its bytes are. An engine that runs a model asks for pixels or samples
 * with `decode()`; one that forwards requests asks for `bytes()`; counting tokens needs the facts alone.
 */

export type InputModality = 'text' | 'image' | 'audio' | 'video'
export type OutputModality = 'text' | 'audio'

/** Interleaved 8-bit RGB pixels, row-major, `data.length === width * height * 3`, EXIF orientation already applied. */
export interface RgbImage {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array
}

/** Mono PCM in [-1, 1] at `sampleRate` Hz. The API server always delivers 16 000 Hz. */
export interface MonoPcm {
  readonly sampleRate: number
  readonly samples: Float32Array
}

/**
 * Frames already sampled from a video, in time order, all of one size. `timestamps[i]` is seconds from the video's
 * start.
 */
export interface VideoFrames {
  readonly frames: readonly RgbImage[]
  readonly timestamps: readonly number[]
  /** Sampling rate the frames stand for, frames per second (2 unless the request says otherwise). */
  readonly fps: number
  /** The video's audio track, when it has one. Interleaved in time with the frames by the checkpoint's processor. */
  readonly audio?: MonoPcm
}

/** Width and height of what `decode()` delivers, in pixels; `source*` are the file's own, orientation applied. */
export interface ImageFacts {
  readonly width: number
  readonly height: number
  readonly sourceWidth: number
  readonly sourceHeight: number
}

export interface AudioFacts {
  /** Of what `decode()` delivers, Hz. */
  readonly sampleRate: number
  /** Samples that `decode()` delivers. */
  readonly samples: number
}

export interface VideoFacts extends ImageFacts {
  /** Frames that `decode()` delivers, and the rate they stand for. */
  readonly frames: number
  readonly fps: number
  /** Length of the file, or of a frame list at its rate, seconds. */
  readonly seconds: number
  /** Frames of the file and their rate; 0 where the container says neither. Absent for a frame list. */
  readonly source?: { readonly frames: number; readonly fps: number }
  readonly audio?: AudioFacts
}

/** One file as it was sent or fetched. */
export interface MediaFile {
  /** As sniffed from the bytes, such as `image/png`; never what a server claimed. */
  readonly mimeType: string
  readonly size: number
  /** Reads the whole file. Rejects with the signal's reason once aborted. */
  bytes(signal?: AbortSignal): Promise<Uint8Array>
}

interface Medium<Kind extends 'image' | 'audio' | 'video', Facts, Decoded> {
  readonly kind: Kind
  /**
   * One file; several for a video given as a list of images. Empty where an engine got the medium without its bytes.
   */
  readonly files: readonly MediaFile[]
  readonly facts: Facts
  /**
   * Whether `facts` are what `decode()` delivers. False where a header can err: a file that was cut off, a variable
   * rate.
   */
  readonly exact: boolean
  /**
   * Names the decoded content: a digest of the bytes and of everything that changes what `decode()` delivers. Media
   * with equal keys decode to equal pixels and samples.
   */
  readonly contentKey: string
  /**
   * Pixels or samples. Callers at the same time share one result; nothing is kept after `release()`.
   * Rejects for a file that turns out to be broken, with an error that engines pass on unchanged, and with the signal's
   * reason once aborted.
   */
  decode(signal?: AbortSignal): Promise<Decoded>
  /** Frees decoded data. `decode()` may be called again. */
  release(): void
}

export type ImageMedium = Medium<'image', ImageFacts, RgbImage>
export type AudioMedium = Medium<'audio', AudioFacts, MonoPcm>
export type VideoMedium = Medium<'video', VideoFacts, VideoFrames>
export type AnyMedium = ImageMedium | AudioMedium | VideoMedium
