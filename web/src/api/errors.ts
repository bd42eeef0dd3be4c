/**
 * Errors between the page and the server, in one shape that the page can show.
 *
 * `api`: the server refused or failed with an error; message, code and param are shown unchanged.
 * `network`: no answer, or the answer broke off. `protocol`: an answer that is not the API's.
 */
import type { ApiErrorBody } from './types.ts'

export interface Failure {
  kind: 'api' | 'network' | 'protocol'
  /** Empty without a message: the browser's own text for a lost connection (`Failed to fetch`) does not help. */
  message: string
  status?: number
  code?: string
  type?: string
  param?: string
  requestId?: string
}

export class RequestFailure extends Error {
  readonly failure: Failure
  constructor(failure: Failure) {
    super(failure.message)
    this.name = 'RequestFailure'
    this.failure = failure
  }
}

interface ErrorEnvelope {
  error?: ApiErrorBody
  id?: string
  request_id?: string
}

/** The failure in an error envelope, or undefined when the value is none. */
export function failureFromEnvelope(value: unknown, status?: number): Failure | undefined {
  if (typeof value !== 'object' || value === null || !('error' in value)) return undefined
  const { error, request_id: requestId, id } = value as ErrorEnvelope
  if (error === undefined || error === null || typeof error.message !== 'string') return undefined
  const failure: Failure = { kind: 'api', message: error.message }
  if (status !== undefined) failure.status = status
  if (error.code) failure.code = error.code
  if (error.type) failure.type = error.type
  if (error.param) failure.param = error.param
  const request = requestId ?? id
  if (request) failure.requestId = request
  return failure
}

/** Reads a refused response. The body may be JSON, or one server-sent event carrying the JSON. */
export async function failureFromResponse(response: Response): Promise<Failure> {
  const text = await response.text().catch(() => '')
  const json = text.trimStart().startsWith('data:') ? text.trimStart().slice(5).split('\n')[0] : text
  try {
    const failure = failureFromEnvelope(JSON.parse(json ?? ''), response.status)
    if (failure) return failure
  } catch {
    // Not JSON: reported unchanged.
  }
  const summary = text.trim().slice(0, 300)
  return {
    kind: 'protocol',
    status: response.status,
    message: summary || `HTTP ${response.status} ${response.statusText}`,
  }
}

/** Messages of Chromium, Firefox and Safari for a connection that fails or breaks. */
const BROWSERS_LOST_CONNECTION = /^(failed to fetch|network ?error.*|load failed|error in input stream)$/i

/** Any thrown value as a failure. Aborts are not failures: check for them first. */
export function toFailure(error: unknown): Failure {
  if (error instanceof RequestFailure) return error.failure
  if (error instanceof SyntaxError) return { kind: 'protocol', message: error.message }
  const message = error instanceof Error ? error.message : String(error)
  return { kind: 'network', message: BROWSERS_LOST_CONNECTION.test(message) ? '' : message }
}

/** Codes that may also come inside a reply that has begun, and then without a status. */
const BUSY = new Set(['ModelServingError', 'RequestTimeOut'])

/** Whether the server failed on the request, before the reply or in it, instead of refusing it. */
export function isFault(failure: Failure): boolean {
  return failure.kind === 'api' && (failure.status === undefined || failure.status >= 500)
}

/** Key of the advice for a failure, under `advice` in the translations. */
export function adviceKey(failure: Failure): string {
  if (failure.kind === 'network') return 'network'
  if (failure.kind === 'protocol') return 'protocol'
  const code = failure.code ?? ''
  if (failure.status === 401 || code === 'invalid_api_key') return 'key'
  if (failure.status === 413) return 'tooLarge'
  if (failure.status === 429 || BUSY.has(code) || code.startsWith('limit_')) return 'busy'
  if (failure.status === 503 || code === 'ModelUnavailable') return 'unavailable'
  if (failure.status === 404 || code === 'model_not_found') return 'model'
  if (/input length|context|max_tokens|too long/i.test(failure.message)) return 'length'
  if (/mixed modality|same modality/i.test(failure.message)) return 'mixed'
  if (/voice/i.test(failure.message)) return 'voice'
  if (/url|download/i.test(failure.message)) return 'url'
  if (isFault(failure)) return 'server'
  return 'request'
}
