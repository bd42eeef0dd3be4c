/**
 * Calls the page's own server.
 *
 * In: request bodies, an abort signal. Out: JSON, or the chunks of a streamed reply. Throws {@link RequestFailure}; an
 * abort rejects with the signal's reason.
 */
import { failureFromEnvelope, failureFromResponse, RequestFailure, toFailure } from './errors.ts'
import { readEvents } from './sse.ts'
import type { ChatChunk, ChatRequest, Ready } from './types.ts'

export const BASE_PATH = '/compatible-mode/v1'

/** Sent when no key is set: a server without keys accepts any, and one with keys answers with the right error. */
const NO_KEY = 'playground'

function headers(apiKey: string): Record<string, string> {
  return { authorization: `Bearer ${apiKey === '' ? NO_KEY : apiKey}` }
}

async function send(path: string, init: RequestInit, signal: AbortSignal | undefined): Promise<Response> {
  let response: Response
  try {
    response = await fetch(path, { ...init, ...(signal ? { signal } : {}) })
  } catch (error) {
    signal?.throwIfAborted()
    throw new RequestFailure(toFailure(error))
  }
  if (!response.ok) throw new RequestFailure(await failureFromResponse(response))
  return response
}

/** GET under the API's base path. */
export async function getJson(path: string, apiKey: string, signal?: AbortSignal): Promise<unknown> {
  const response = await send(`${BASE_PATH}${path}`, { headers: headers(apiKey) }, signal)
  return response.json() as Promise<unknown>
}

/** A request's cost, without running it. */
export async function countTokens(request: ChatRequest, apiKey: string, signal?: AbortSignal): Promise<unknown> {
  const init = {
    method: 'POST',
    headers: { ...headers(apiKey), 'content-type': 'application/json' },
    body: JSON.stringify(request),
  }
  const response = await send(`${BASE_PATH}/tokens/count`, init, signal)
  return response.json() as Promise<unknown>
}

export interface StreamStart {
  requestId: string
  /** What differs from the request, such as an audio track that was left out. */
  warnings: string
}

/** The header's text is percent-encoded where it is not ASCII. */
function decodeHeader(value: string | null): string {
  try {
    return decodeURI(value ?? '')
  } catch {
    return value ?? ''
  }
}

/** Streams one reply. `onStart` is called when the headers are in. Errors sent inside the stream are thrown. */
export async function* streamChat(
  body: string,
  apiKey: string,
  signal: AbortSignal,
  onStart: (start: StreamStart) => void,
): AsyncGenerator<ChatChunk, void, void> {
  const init = { method: 'POST', headers: { ...headers(apiKey), 'content-type': 'application/json' }, body }
  const response = await send(`${BASE_PATH}/chat/completions`, init, signal)
  onStart({
    requestId: response.headers.get('x-request-id') ?? '',
    warnings: decodeHeader(response.headers.get('x-omniserve-warnings')),
  })
  if (response.body === null) throw new RequestFailure({ kind: 'protocol', message: 'The reply has no body.' })
  let finished = false
  try {
    for await (const event of readEvents(response.body)) {
      const value = JSON.parse(event) as ChatChunk
      const failure = failureFromEnvelope(value)
      if (failure) throw new RequestFailure(failure)
      if (value.choices?.some((choice) => choice.finish_reason !== null)) finished = true
      yield value
    }
  } catch (error) {
    signal.throwIfAborted()
    throw error instanceof RequestFailure ? error : new RequestFailure(toFailure(error))
  }
  signal.throwIfAborted()
  if (!finished) throw new RequestFailure({ kind: 'network', message: 'The reply broke off before its end.' })
}

/** True when the server answers and is ready; otherwise the text says why. */
export async function checkReady(
  signal?: AbortSignal,
): Promise<{ state: 'ready' | 'starting' | 'down'; reason: string }> {
  try {
    const response = await fetch('/ready', signal ? { signal } : {})
    if (response.ok) return { state: 'ready', reason: '' }
    const body = (await response.json().catch(() => ({}))) as Partial<Ready>
    return { state: 'starting', reason: body.reason ?? '' }
  } catch (error) {
    signal?.throwIfAborted()
    return { state: 'down', reason: error instanceof Error ? error.message : String(error) }
  }
}
