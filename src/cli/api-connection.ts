/**
 * The API for commands: over HTTP, wherever the server runs.
 *
 * In: a server's address and key. Out: an {@link ApiConnection} whose `fetch` returns answers and throws refusals, so a
 * command works the same with a server in this process, on another machine, and with the hosted service.
 */
import type { z } from 'zod'
import type { Engine } from '../contract/index.ts'
import { apiErrorBodySchema } from '../protocol/index.ts'
import { CommandError, EXIT } from './exit.ts'

export interface ApiConnection extends AsyncDisposable {
  /** For display: a URL, or the checkpoint's name. */
  readonly name: string
  readonly remote: boolean
  /** Engines of a server in this process, by checkpoint name; empty for a remote one. */
  readonly engines: ReadonlyMap<string, Engine>
  /** A URL for a file too large for a data URI; undefined where the server is not in this process. */
  readonly shareFile: ((path: string) => string) | undefined
  /**
   * Sends a request to a route such as `/chat/completions`, and returns the answer if it is one.
   * @throws CommandError with exit code 4 when nothing answers, 5 with the API's own text when it refuses
   */
  fetch(route: string, init?: RequestInit): Promise<Response>
}

/** @throws CommandError for anything but an http(s) address */
export function connectToServer(given: string, key: string | undefined): ApiConnection {
  const base = baseUrl(given)
  // OMNISERVE_API_KEY may contain several keys, for `serve`; any of them is valid.
  const [first] = key?.split(',') ?? []
  return {
    name: base,
    remote: true,
    engines: new Map(),
    shareFile: undefined,
    async fetch(route, init) {
      const headers = new Headers(init?.headers)
      if (first !== undefined) headers.set('authorization', `Bearer ${first}`)
      let response: Response
      try {
        response = await fetch(base + route, { ...init, headers })
      } catch (error) {
        if (init?.signal?.aborted === true) throw init.signal.reason
        throw new CommandError(
          `cannot reach ${base}: ${connectionText(error)}. Start a server with: omniserve serve, or leave out --url to run the checkpoint in this command.`,
          EXIT.unreachable,
        )
      }
      return accepted(response)
    },
    async [Symbol.asyncDispose]() {},
  }
}

/** @throws CommandError for anything but an http(s) address */
export function baseUrl(given: string): string {
  let url: URL
  try {
    url = new URL(/^https?:\/\//i.test(given) ? given : `http://${given}`)
  } catch {
    throw new CommandError(`--url ${given}: must be http://HOST:PORT`, EXIT.usage)
  }
  const pathname = url.pathname.replace(/\/+$/, '')
  return `${url.origin}${pathname === '' ? '/compatible-mode/v1' : pathname}`
}

function connectionText(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : ''
  switch (code) {
    case 'ECONNREFUSED':
      return 'no server listens there'
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'unknown host name'
    default:
      return cause instanceof Error ? cause.message : String(cause)
  }
}

async function accepted(response: Response): Promise<Response> {
  if (response.ok) return response
  const text = await response.text()
  const hint = response.headers.get('x-omniserve-hint')
  throw apiFailure(response.status, text, response.headers.get('x-request-id'), hint === null ? '' : decodeURI(hint))
}

/** The API's error as a failure of the command: its message and `hint`, and the field it is about. */
export function apiFailure(httpStatus: number, body: string, requestId: string | null, hint = ''): CommandError {
  let parsed
  try {
    parsed = apiErrorBodySchema.safeParse(JSON.parse(body))
  } catch {
    // Not JSON: not a server of this API.
  }
  if (parsed?.success !== true) {
    const shown = body.trim().slice(0, 200)
    return new CommandError(`the server answered HTTP ${httpStatus}${shown === '' ? '' : `: ${shown}`}`, EXIT.refused)
  }
  const { error, request_id: id } = parsed.data
  const field = error.param === null ? '' : ` [${error.param}]`
  const kind = error.code ?? error.type
  return new CommandError(
    `the API refused the request (${httpStatus} ${kind})${field}: ${`${error.message} ${hint}`.trim()} (request ${requestId ?? id})`,
    EXIT.refused,
  )
}

/** A route's answer, checked. @throws CommandError when it does not fit this API, as the hosted service's model list */
export async function readAnswer<T>(response: Response, schema: z.ZodType<T>): Promise<T> {
  const text = await response.text()
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    throw new CommandError(`the reply is not from an omniserve server: ${text.trim().slice(0, 120)}`, EXIT.refused)
  }
}
