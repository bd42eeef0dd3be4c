/** The error that a client gets when a stage throws: an `EngineError` as it is, anything else as `internal`. */

import { EngineError } from '../contract/index.ts'

export function stageFailure(error: unknown): unknown {
  if (error instanceof EngineError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new EngineError('internal', `The model failed: ${message}`, { cause: error })
}
