/** From media errors to the wire's: the service's text, the field, and the media error's fix. */
import type { MediaLimits } from '../../catalogue/index.ts'
import { MediaError } from '../../media/index.ts'
import { ApiError, errors } from '../../protocol/index.ts'
import type { MediaRef } from './check-rules.ts'

/** Converts any error to an API error. Errors other than {@link MediaError} become internal errors with a cause. */
export function mediaErrorToApi(error: unknown, ref: MediaRef, limits: MediaLimits): ApiError {
  if (error instanceof ApiError) return error
  if (!(error instanceof MediaError)) return errors.internal(error)
  const param = error.index === undefined ? ref.param : `${ref.param}.${error.index}`
  const hint = error.message
  switch (error.code) {
    case 'url_invalid':
      return errors.urlInvalid(param, hint)
    case 'download_failed':
      return errors.downloadFailed(param, hint)
    case 'not_found':
      return errors.mediaNotFound(param, hint)
    case 'download_timeout':
      return errors.downloadTimeout(param, hint)
    case 'unauthorized':
    case 'forbidden_host':
      return errors.hostForbidden(param, hint)
    case 'too_large':
      return errors.fileTooLarge(param, hint)
    case 'data_uri_too_large':
      return errors.dataUriTooLarge(param)
    case 'wrong_content_type':
      return errors.contentTypeWrong(param, hint)
    case 'image_illegal':
      return errors.imageIllegal(param, hint)
    case 'image_dimensions':
      return errors.imageDimensions(param, error.detail ?? hint)
    case 'audio_illegal':
      return errors.audioIllegal(param, hint)
    case 'audio_empty':
      return errors.audioEmpty(param, hint)
    case 'audio_too_long':
      return errors.audioTooLong(param, hint)
    case 'video_invalid':
    case 'video_audio_undecodable':
      return errors.videoInvalid(param, hint)
    case 'video_too_long':
      return errors.videoTooLong(param, hint)
    case 'video_too_short':
      return errors.videoTooShort(param, hint)
    case 'video_frame_count':
      return errors.framesRange(limits.video.minFrames, limits.video.maxFrames, param)
    case 'decode_timeout':
    case 'decode_memory':
      return errors.fileTooLarge(param, hint)
    case 'overloaded':
      return error.cause === undefined ? errors.overloaded() : errors.unavailable(hint, error)
    case 'no_decoder':
      return errors.unavailable(hint, error)
    case 'aborted':
      return errors.internal(error)
    default:
      return error.code satisfies never
  }
}
