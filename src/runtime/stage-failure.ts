/** A reader's error when a stage throws: engine errors as they are, anything else as `internal`. */

import { EngineError } from '../contract/index.ts'

export function stageFailure(error: unknown): unknown {
  if (error instanceof EngineError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new EngineError('internal', `The model failed: ${message}`, { cause: error })
}
