/**
 * A peer's error, and what it shows of the peer's health.
 *
 * In: an engine error's parts and an {@link Effect}. Out: an `EngineError` that the pool reads the effect of.
 */

import { EngineError, type EngineErrorCode, type EngineErrorOptions } from '../../contract/index.ts'

export type Effect =
  /** It shows nothing of the peer's health: a bad request, a full queue. */
  | 'none'
  /** Counts as a failed health check. */
  | 'strike'
  /** The peer is out until health checks bring it back. */
  | 'eject'
  /** The peer is out until an operator acts: a wrong key, a quota that is used up. */
  | 'suspend'

export class RemoteError extends EngineError {
  readonly effect: Effect

  constructor(code: EngineErrorCode, message: string, effect: Effect, options: EngineErrorOptions = {}) {
    super(code, message, options)
    this.effect = effect
  }
}

/**
 * The effect of anything a member's engine throws. Errors of engines on this machine carry none: they report their
 * state themselves.
 */
export function effectOf(error: unknown): Effect {
  return error instanceof RemoteError ? error.effect : 'none'
}
