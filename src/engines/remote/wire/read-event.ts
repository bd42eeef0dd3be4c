/**
 * Parses a peer's server-sent event. An error in any form becomes an object with an `error` member.
 *
 * In: the event's name and data. Out: JSON. Reference: the SSE specification. vLLM before 0.10 and SGLang send
 * `{"object": "error", message, code}`; DashScope's own API sends an event named `error`.
 */

import { RemoteError } from '../remote-error.ts'

export interface PeerEvent {
  readonly event?: string | undefined
  readonly data: string
}

/** Parses an event. @throws RemoteError if its data is not JSON */
export function readEvent({ event, data }: PeerEvent): unknown {
  const json = parse(data, event === 'error')
  if (typeof json !== 'object' || json === null) return json
  if (event !== 'error' && !('object' in json && json.object === 'error')) return json
  return 'error' in json ? json : { error: json }
}

function parse(data: string, isError: boolean): unknown {
  try {
    const json: unknown = JSON.parse(data)
    return isError && (typeof json !== 'object' || json === null) ? { error: { message: data } } : json
  } catch (error) {
    if (isError) return { error: { message: data } }
    throw new RemoteError('upstream_failed', 'The peer sent an event that is not JSON.', 'strike', { cause: error })
  }
}
