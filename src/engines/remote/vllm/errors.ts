/**
 * Errors of vLLM and vLLM-Omni: `{"error": {message, type, param, code}}`, or `{"error": "Unauthorized"}`.
 *
 * Reference: vLLM 0.30 and vLLM-Omni 0.30 as recorded in `testdata/remote-streams`.
 */

import { z } from 'zod'
import { RemoteError } from '../remote-error.ts'

const bodySchema = z.object({
  error: z.union([
    z.string(),
    z.object({ message: z.string(), param: z.string().nullish(), type: z.string().nullish() }),
  ]),
})

/** The error in a response, in any of its forms. */
export function messageOf(body: string): {
  readonly message: string
  readonly param?: string | null | undefined
  /** False: not an error object, such as a proxy's HTML page. */
  readonly structured: boolean
} {
  try {
    const parsed = bodySchema.safeParse(JSON.parse(body))
    if (parsed.success) {
      const { error } = parsed.data
      return typeof error === 'string' ? { message: error, structured: true } : { ...error, structured: true }
    }
  } catch {
    // Not JSON.
  }
  return { message: body.slice(0, 200).trim(), structured: false }
}

const context = /maximum context length|max_model_len|context length/i
/** The error of requests after a crash, which did not cause it. */
const afterCrash = /no live replica/i
const crash = /EngineCore|Engine(Dead| is dead| core)|stage \S+ (died|worker|exited)|worker exited|engine died/i

/**
 * The field that exceeds the context, from "you requested N output tokens and your prompt contains at least M input
 * tokens". vLLM counts only up to the tokens that N leaves, so with `at least` the prompt alone may also be too long.
 */
export function overflowParam(message: string): 'max_tokens' | 'messages' {
  if (/^max_tokens|parameter=max_tokens|parameter=max_completion_tokens/.test(message)) return 'max_tokens'
  const requested = /requested (\d+) output tokens/.exec(message)?.[1]
  const prompt = /prompt contains (?:at least )?(\d+)/.exec(message)?.[1]
  const length = /context length is (\d+)/.exec(message)?.[1]
  const fits = prompt !== undefined && length !== undefined && Number(prompt) < Number(length)
  return fits && Number(requested ?? 0) > 0 ? 'max_tokens' : 'messages'
}

/** Converts an HTTP status, or the code of an error event. The peer's texts become causes, which only the log shows. */
export function mapVllmError(status: number, body: string): RemoteError {
  const { message, param, structured } = messageOf(body)
  const cause = new Error(`HTTP ${status}: ${message}`)
  if (context.test(message) && (status === 400 || status === 500)) {
    const which = overflowParam(message)
    const what = which === 'max_tokens' ? 'The prompt and max_tokens exceed' : 'The prompt exceeds'
    return new RemoteError('context_overflow', `${what} the context of the model.`, 'none', {
      param: which,
      cause,
    })
  }
  if (status === 401 || status === 403)
    return new RemoteError(
      'upstream_failed',
      `The peer rejects the pool's key (HTTP ${status}): set the pool's key.`,
      'suspend',
      { cause },
    )
  if (status === 404)
    return new RemoteError(
      'upstream_failed',
      `The peer does not serve the model it is configured for: ${message}`,
      'suspend',
      {
        cause,
      },
    )
  if (status === 429)
    return new RemoteError('rate_limited', 'The rate limit of the peer is reached.', 'none', {
      retryAfterMs: 1000,
      cause,
    })
  if (status === 503) return new RemoteError('upstream_failed', 'The peer is unhealthy.', 'strike', { cause })
  if (status >= 500 && afterCrash.test(message))
    return new RemoteError('upstream_failed', 'The peer’s engine has ended.', 'eject', { cause })
  if (status >= 500 && crash.test(message))
    return new RemoteError('engine_crashed', 'The peer’s engine crashed.', 'eject', { cause })
  if (status >= 500)
    return new RemoteError('upstream_failed', `The peer failed with HTTP ${status}.`, 'strike', { cause })
  if (/failed to load|cannot identify|corrupt|invalid data/i.test(message))
    return new RemoteError('unsupported', 'It cannot decode a file of this request.', 'none', {
      param: 'messages',
      cause,
    })
  if (!structured)
    return new RemoteError('upstream_failed', `The peer refused the request with HTTP ${status}.`, 'none', { cause })
  return new RemoteError('unsupported', withoutPaths(message), 'none', { ...(param ? { param } : {}), cause })
}

/** Removes the peer's file paths from a message for callers. */
export function withoutPaths(message: string): string {
  return message.replaceAll(/(^|[\s'"`(=])\/(?:[\w.@+-]+\/)+[\w.@+-]*/g, '$1(path)')
}
