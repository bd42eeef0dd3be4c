/** Converts errors for the IPC channel: an `EngineError` keeps its fields, any other error becomes `internal`. */

import { EngineError } from '../../contract/index.ts'
import type { ErrorMessage } from './messages.ts'

export function toErrorMessage(error: unknown): ErrorMessage {
  if (error instanceof EngineError)
    return {
      code: error.code,
      message: error.message,
      retryable: error.retryable,
      ...(error.param !== undefined && { param: error.param }),
      ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
      ...(error.stack !== undefined && { stack: error.stack }),
    }
  const message = error instanceof Error ? error.message : String(error)
  return {
    code: 'internal',
    message,
    retryable: false,
    ...(error instanceof Error && error.stack !== undefined && { stack: error.stack }),
  }
}

export function fromErrorMessage({ code, message, stack, ...options }: ErrorMessage): EngineError {
  return new EngineError(code, message, { ...options, cause: stack })
}
