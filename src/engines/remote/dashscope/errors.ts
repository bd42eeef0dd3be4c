/**
 * Errors of Model Studio's compatible mode: JSON, an event, or an event in the body of a 4xx response.
 *
 * In: a status and a body. Out: an engine error. Errors of the request are passed on unchanged. Errors of the key or
 * the account are not shown to the caller. Reference: Model Studio's page of error codes.
 */

import { z } from 'zod'
import type { EngineErrorCode } from '../../../contract/index.ts'
import { type Effect, RemoteError } from '../remote-error.ts'

const bodySchema = z.object({
  error: z.object({
    message: z.string().nullish(),
    type: z.string().nullish(),
    param: z.string().nullish(),
    code: z.string().nullish(),
  }),
})

export interface WireError {
  readonly message: string
  readonly type: string
  readonly param: string | undefined
  readonly code: string | null
}

export function readWireError(body: string): WireError | undefined {
  const text = body.replace(/^data:\s*/, '')
  try {
    const parsed = bodySchema.safeParse(JSON.parse(text))
    if (!parsed.success) return undefined
    const { message, type, param, code } = parsed.data.error
    return { message: message ?? '', type: type ?? '', param: param || undefined, code: code ?? null }
  } catch {
    return undefined
  }
}

/** The HTTP status of an error that arrived inside a 200 response. */
export function statusOfCode(error: WireError): number {
  const code = error.code ?? error.type
  if (/^(limit_|insufficient_quota|Throttling|LimitRequests)/i.test(code)) return 429
  if (/invalid_api_key/i.test(code)) return 401
  if (/access_?denied|FreeTierOnly/i.test(code)) return 403
  if (/model_not_(found|supported)/i.test(code)) return 404
  if (/^(Arrearage|invalid_|InvalidParameter|data_?inspection)/i.test(code)) return 400
  if (/ModelServingError|ModelUnavailable/i.test(code)) return 503
  return 500
}

/** Milliseconds until a retry, if the service gives none. */
const BACK_OFF = 1000

export function mapDashscopeError(status: number, body: string, retryAfterMs?: number): RemoteError {
  const error = readWireError(body)
  const cause = new Error(`HTTP ${status}: ${error ? `${error.code}: ${error.message}` : body.slice(0, 200)}`)
  const make = (code: EngineErrorCode, message: string, effect: Effect, after?: number): RemoteError =>
    new RemoteError(code, message, effect, { cause, ...(after !== undefined && { retryAfterMs: after }) })
  if (!error) return make('upstream_failed', `The service answered HTTP ${status}.`, status >= 500 ? 'strike' : 'none')
  const code = error.code ?? error.type
  switch (true) {
    case status === 401:
      return make('upstream_failed', "The service refuses the pool's key; keys belong to one region.", 'suspend')
    case status === 403 || code === 'Arrearage':
      return make('upstream_failed', `The service refuses the account of the pool's key: ${code}.`, 'suspend')
    case status === 404:
      return make('upstream_failed', "The service has no such model for the pool's key.", 'suspend')
    case status === 429 && /quota/i.test(code):
      return make('rate_limited', "The quota of the pool's key is exhausted.", 'suspend')
    case status === 429:
      return make('rate_limited', 'The rate limit of the service is reached.', 'none', retryAfterMs ?? BACK_OFF)
    case code === 'ModelServingError':
      return make('overloaded', 'The service is at capacity.', 'none', retryAfterMs ?? BACK_OFF)
    case /time_?out/i.test(code):
      return make('timeout', 'The service timed out.', 'none')
    case status >= 500:
      return make('upstream_failed', `The service failed: ${code}.`, 'strike')
    case /Range of input length/i.test(error.message):
      return new RemoteError('context_overflow', error.message, 'none', { param: 'messages', cause })
    default:
      return passOn(status, error, cause)
  }
}

/** An error of the request, with the service's own text. */
export function passOn(status: number, error: WireError, cause: Error): RemoteError {
  return new RemoteError('unsupported', error.message, 'none', {
    ...(error.param !== undefined && { param: error.param }),
    passedOn: { status, type: error.type, code: error.code },
    cause,
  })
}

/** @throws RemoteError for an error event */
export function throwWireError(json: unknown, map: typeof mapDashscopeError): void {
  if (typeof json !== 'object' || json === null || !('error' in json) || json.error === null) return
  const body = JSON.stringify(json)
  const error = readWireError(body)
  throw map(error ? statusOfCode(error) : 500, body)
}
