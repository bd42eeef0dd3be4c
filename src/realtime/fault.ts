/**
 * An error of a session: sent as an `error` event. The session then continues, or closes if `close` is set.
 */

import { ApiError } from '../protocol/index.ts'

export interface FaultOptions {
  readonly code?: string
  readonly param?: string
  readonly type?: string
  /** Code with which the socket is closed afterwards. */
  readonly close?: number
  readonly cause?: unknown
}

export class SessionFault extends Error {
  override readonly name = 'SessionFault'
  readonly type: string
  readonly code: string | null
  readonly param: string | null
  readonly close: number | undefined

  constructor(message: string, options: FaultOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.type = options.type ?? 'invalid_request_error'
    this.code = options.code ?? 'invalid_value'
    this.param = options.param ?? null
    this.close = options.close
  }
}

/** The error that a client gets for a failed reply. */
export function replyFault(error: unknown): SessionFault {
  const known = error instanceof ApiError ? error : undefined
  return new SessionFault(known?.message ?? 'An internal error has occured, please try again later.', {
    code: known?.code ?? 'internal_error',
    type: known !== undefined && known.status < 500 ? 'invalid_request_error' : 'server_error',
    cause: error,
  })
}
