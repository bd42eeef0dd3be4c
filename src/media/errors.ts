/**
 * The one error of the media folder, and its codes.
 *
 * The wire maps `code` to a status and to the service's own text; `message` is for the user and names the fix. `detail`
 * is the part the service puts in brackets (`height:1 or width:1 must be larger than 10`).
 *
 * Reference: the media rows of Model Studio's error catalogue.
 */

export const mediaErrorCodes = [
  /** Neither a well-formed http(s) URL nor a base64 data URI. */
  'url_invalid',
  /** The server could not be reached, or its answer was not a complete 200. */
  'download_failed',
  /** Connecting, the first byte, the next byte or the whole took too long. */
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
  /** The server sends a page or JSON, not media. */
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

/** How the medium was given. */
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

/** The same error with its origin filled in; the code and texts stay. */
export function withOrigin(error: MediaError, origin: MediaErrorOptions): MediaError {
  const placed = new MediaError(error.code, error.message, {
    kind: error.kind ?? origin.kind,
    source: error.source ?? origin.source,
    detail: error.detail,
    index: error.index ?? origin.index,
    cause: error.cause,
  })
  if (error.stack !== undefined) placed.stack = error.stack
  return placed
}

/** The code for "this is not a readable `kind`". */
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

/** Turns an aborted signal into a {@link MediaError}; the signal's reason becomes the cause. */
export function abortedError(signal: AbortSignal | undefined): MediaError {
  return new MediaError('aborted', 'The request was cancelled while its media was being prepared.', {
    cause: signal?.reason,
  })
}
