/**
 * The error of the media folder, and its codes.
 *
 * The API maps `code` to a status and to the service's own text. `message` is for the user and names the fix. `detail`
 * is the part that the service puts in brackets (`height:1 or width:1 must be larger than 10`).
 *
 * Reference: the media rows of Model Studio's error catalogue.
 */

export const mediaErrorCodes = [
  /** Neither a well-formed http(s) URL nor a base64 data URI. */
  'url_invalid',
  /** The media's server could not be reached, or did not send a complete response with status 200. */
  'download_failed',
  /** Connecting, waiting for the first or the next byte, or the whole download took too long. */
  'download_timeout',
  /** The media's server answered 404 or 410. */
  'not_found',
  /** The media's server answered 401 or 403. */
  'unauthorized',
  /**
   * The URL, or a redirect, leads to an address that is not on the public internet and not allowed by configuration.
   */
  'forbidden_host',
  /** More bytes than the model accepts. */
  'too_large',
  /** A data URI longer than the API accepts. */
  'data_uri_too_large',
  /** The media's server sent a web page or JSON, not media. */
  'wrong_content_type',
  /** Not a supported image, or a broken one. */
  'image_illegal',
  /** An image too small, too large or too narrow. */
  'image_dimensions',
  /** Not a supported audio file, or a broken one. */
  'audio_illegal',
  /** Audio without samples. */
  'audio_empty',
  'audio_too_long',
  /** Not a supported video, or a broken one. */
  'video_invalid',
  'video_too_long',
  /** Shorter than the model accepts, or fewer than two frames. */
  'video_too_short',
  /** A frame list with too few or too many images. */
  'video_frame_count',
  /** The video has an audio track that cannot be decoded. */
  'video_audio_undecodable',
  /** Decoding took longer than allowed. */
  'decode_timeout',
  /** Decoding took more memory than allowed. */
  'decode_memory',
  /** Too many media parts are waiting to be decoded. */
  'overloaded',
  /** The package that reads this format is not installed with the server. */
  'no_decoder',
  /** The caller's signal was aborted, or the loader was closed. */
  'aborted',
] as const

export type MediaErrorCode = (typeof mediaErrorCodes)[number]

/** The requested kind. Frames of a list are `image`. */
export type MediaKind = 'image' | 'audio' | 'video'

/** What to send in place of a file that is not supported; docs/media.md has all formats. */
export const supportedFormats: Readonly<Record<MediaKind, string>> = {
  image: 'Send JPEG, PNG, WebP, GIF, TIFF, AVIF or BMP.',
  audio: 'Send WAV (raw PCM requires its header), MP3, AAC, FLAC or Ogg.',
  video: 'Send MP4, MOV, MKV, WebM or AVI.',
}

/** How the request gave the medium. */
export type SourceKind = 'url' | 'data'

export interface MediaErrorOptions {
  readonly kind?: MediaKind | undefined
  readonly source?: SourceKind | undefined
  readonly detail?: string | undefined
  /** Position in a frame list. */
  readonly index?: number | undefined
  readonly cause?: unknown
}

export class MediaError extends Error {
  override readonly name = 'MediaError'
  readonly code: MediaErrorCode
  readonly kind: MediaKind | undefined
  readonly source: SourceKind | undefined
  readonly detail: string | undefined
  readonly index: number | undefined

  constructor(code: MediaErrorCode, message: string, options: MediaErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.kind = options.kind
    this.source = options.source
    this.detail = options.detail
    this.index = options.index
  }
}

/** A copy of `error` with its missing kind, source and index taken from `origin`. */
export function withOrigin(error: MediaError, origin: MediaErrorOptions): MediaError {
  const copy = new MediaError(error.code, error.message, {
    kind: error.kind ?? origin.kind,
    source: error.source ?? origin.source,
    detail: error.detail,
    index: error.index ?? origin.index,
    cause: error.cause,
  })
  if (error.stack !== undefined) copy.stack = error.stack
  return copy
}

/** The code for a file that cannot be read as a `kind`. */
export function illegalCode(kind: MediaKind): MediaErrorCode {
  switch (kind) {
    case 'image':
      return 'image_illegal'
    case 'audio':
      return 'audio_illegal'
    case 'video':
      return 'video_invalid'
    default:
      return kind satisfies never
  }
}

/** A {@link MediaError} for an aborted signal, whose reason becomes the cause. */
export function abortedError(signal: AbortSignal | undefined): MediaError {
  return new MediaError('aborted', 'The request was cancelled while its media was being prepared.', {
    cause: signal?.reason,
  })
}
