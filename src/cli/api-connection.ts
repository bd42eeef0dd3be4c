/**
 * The connection of a command to an API server, over HTTP.
 *
 * In: a server's address and key. Out: an {@link ApiConnection} whose `fetch` returns successful responses and throws
 * other ones. It works the same for a server in this process, on another machine, and for the hosted service.
 */
import type { z } from 'zod'
import type { Engine } from '../contract/index.ts'
import { apiErrorBodySchema } from '../protocol/api-error.ts'
import { CommandError, EXIT } from './exit.ts'

export interface ApiConnection extends AsyncDisposable {
  /** A URL or the checkpoint's name, for display. */
  readonly name: string
  readonly remote: boolean
  /** Engines of a server in this process, by checkpoint name; empty for a remote one. */
  readonly engines: ReadonlyMap<string, Engine>
  /** Returns a URL for a file that is too large for a data URI; undefined if the server is not in this process. */
  readonly shareFile: ((path: string) => string) | undefined
  /**
   * Sends a request to a route such as `/chat/completions`.
   *
   * @throws CommandError with exit code 4 if the server cannot be reached, 5 with the API's own text if it refuses
   */
  fetch(route: string, init?: RequestInit): Promise<Response>
}

/** Does not contact the server yet. @throws CommandError if `address` is not an http(s) address */
export function connectToServer(address: string, key: string | undefined): ApiConnection {
  const base = baseUrl(address)
  // OMNISERVE_API_KEY may contain several keys for `serve`, all of them valid.
  const [firstKey] = key?.split(',') ?? []
  return {
    name: base,
    remote: true,
    engines: new Map(),
    shareFile: undefined,
    async fetch(route, init) {
      const headers = new Headers(init?.headers)
      if (firstKey !== undefined) headers.set('authorization', `Bearer ${firstKey}`)
      let response: Response
      try {
        response = await fetch(base + route, { ...init, headers })
      } catch (error) {
        if (init?.signal?.aborted === true) throw init.signal.reason
        throw new CommandError(
          `cannot reach ${base}: ${connectionErrorText(error)}. Start a server with: omniserve serve, or leave out --url to run the checkpoint in this command.`,
          EXIT.unreachable,
        )
      }
      return requireOk(response)
    },
    async [Symbol.asyncDispose]() {},
  }
}

/** The URL before the routes: adds `http://` and the API's path where missing. @throws CommandError */
export function baseUrl(address: string): string {
  let url: URL
  try {
    url = new URL(/^https?:\/\//i.test(address) ? address : `http://${address}`)
  } catch {
    throw new CommandError(`--url ${address}: must be http://HOST:PORT`, EXIT.usage)
  }
  const pathname = url.pathname.replace(/\/+$/, '')
  return `${url.origin}${pathname === '' ? '/compatible-mode/v1' : pathname}`
}

function connectionErrorText(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : ''
  switch (code) {
    case 'ECONNREFUSED':
      return 'no server is listening'
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'unknown host name'
    default:
      return cause instanceof Error ? cause.message : String(cause)
  }
}

async function requireOk(response: Response): Promise<Response> {
  if (response.ok) return response
  const text = await response.text()
  const hint = response.headers.get('x-omniserve-hint')
  throw apiFailure(response.status, text, response.headers.get('x-request-id'), hint === null ? '' : decodeURI(hint))
}

/** The API's error as a {@link CommandError}, with its message, `hint`, field and request id. */
export function apiFailure(httpStatus: number, body: string, requestId: string | null, hint = ''): CommandError {
  let parsed
  try {
    parsed = apiErrorBodySchema.safeParse(JSON.parse(body))
  } catch {
    // Not JSON: some other server answered.
  }
  if (parsed?.success !== true) {
    const excerpt = body.trim().slice(0, 200)
    return new CommandError(
      `the server answered HTTP ${httpStatus}${excerpt === '' ? '' : `: ${excerpt}`}`,
      EXIT.refused,
    )
  }
  const { error, request_id: id } = parsed.data
  const field = error.param === null ? '' : ` [${error.param}]`
  const kind = error.code ?? error.type
  return new CommandError(
    `the API refused the request (${httpStatus} ${kind})${field}: ${`${error.message} ${hint}`.trim()} (request ${requestId ?? id})`,
    EXIT.refused,
  )
}

/** Reads and validates a response. @throws CommandError if it does not match `schema`, as from another API */
export async function readResponse<T>(response: Response, schema: z.ZodType<T>): Promise<T> {
  const text = await response.text()
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    throw new CommandError(`the reply is not from an omniserve server: ${text.trim().slice(0, 120)}`, EXIT.refused)
  }
}
