/** Media of a request: what an API server accepted, and what it looks and sounds like once decoded. */

export type InputModality = 'text' | 'image' | 'audio' | 'video'
export type OutputModality = 'text' | 'audio'

/** Interleaved 8-bit RGB pixels, row-major, `data.length === width * height * 3`, EXIF orientation already applied. */
export interface RgbImage {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array
}

/** Mono PCM in [-1, 1] at `sampleRate` Hz. The media room always delivers 16 000 Hz. */
export interface MonoPcm {
  readonly sampleRate: number
  readonly samples: Float32Array
}

/** Frames already sampled from a clip, in time order, all of one size. `timestamps[i]` is seconds from the clip's start. */
export interface VideoFrames {
  readonly frames: readonly RgbImage[]
  readonly timestamps: readonly number[]
  /** Sampling rate the frames stand for, frames per second (2 unless the request says otherwise). */
  readonly fps: number
  /** The clip's sound track, when it has one. Interleaved in time with the frames by the checkpoint's processor. */
  readonly audio?: MonoPcm
}
