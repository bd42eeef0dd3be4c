/**
 * An error of a peer, with its effect on the peer's health.
 *
 * In: the fields of an engine error, and an {@link Effect}. Out: an `EngineError` whose effect the pool applies.
 */

import { EngineError, type EngineErrorCode, type EngineErrorOptions } from '../../contract/index.ts'

export type Effect =
  /** No effect on health: a bad request, a full queue. */
  | 'none'
  /** Counts as a failed health check. */
  | 'strike'
  /** The peer is out of service until health checks succeed. */
  | 'eject'
  /** The peer is out of service until an operator acts: a wrong key, an exhausted quota. */
  | 'suspend'

export class RemoteError extends EngineError {
  readonly effect: Effect

  constructor(code: EngineErrorCode, message: string, effect: Effect, options: EngineErrorOptions = {}) {
    super(code, message, options)
    this.effect = effect
  }
}

/**
 * The effect of any error that an engine throws. Errors of local engines have none, because local engines report their
 * own state.
 */
export function effectOf(error: unknown): Effect {
  return error instanceof RemoteError ? error.effect : 'none'
}
