/**
 * Converts engine errors to API errors. The text tells whether the loaded checkpoint or the API model is the cause.
 */
import { EngineError } from '../../contract/index.ts'
import { EncoderError } from '../../media/index.ts'
import { ApiError, errors } from '../../protocol/index.ts'

/** Anything thrown while a request runs, as an {@link ApiError}. `checkpoint` is the loaded one's name. */
export function engineErrorToApi(error: unknown, checkpoint: string, contextLength: number): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof EncoderError) return errors.unavailable(error.message, error)
  if (!(error instanceof EngineError)) return errors.internal(error)
  const { passedOn } = error
  if (passedOn)
    return new ApiError({ ...passedOn, message: error.message, param: error.param ?? null, cause: error.cause })
  switch (error.code) {
    case 'unsupported':
      return errors.checkpointUnsupported(
        `The checkpoint '${checkpoint}' loaded here cannot do this: ${error.message} Load one that can with --model or --bind.`,
        error.param ?? null,
      )
    case 'context_overflow':
      return errors.inputLength(contextLength, {
        detail: `the checkpoint '${checkpoint}' loaded here holds less than the API model. ${error.message}`,
      })
    case 'overloaded':
      // No other request uses the missing capacity, so a retry would not help.
      if (!error.retryable)
        return errors.checkpointUnsupported(
          `The checkpoint '${checkpoint}' loaded here has no memory for this request. ${error.message}`,
          error.param ?? null,
        )
      return errors.overloaded(error.message, secondsOf(error))
    case 'rate_limited':
      return errors.rateLimited('intl', secondsOf(error))
    case 'timeout':
      return errors.timedOut()
    case 'unknown_model':
    case 'bad_checkpoint':
    case 'engine_crashed':
    case 'engine_closed':
    case 'upstream_failed':
      return errors.unavailable(undefined, error, secondsOf(error))
    case 'internal':
      return errors.internal(error)
    default:
      return error.code satisfies never
  }
}

/** Whole seconds until a retry may succeed, where the engine knows. */
function secondsOf({ retryAfterMs }: EngineError): number | undefined {
  return retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs / 1000)
}
