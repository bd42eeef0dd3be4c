/**
 * Requests to a model hub: token, timeouts and retries.
 *
 * A request is repeated when the connection fails or the hub answers 408, 429 or 5xx, after the time in Retry-After or
 * with exponential backoff. Tokens are sent to the hub only: `fetch` drops them on redirects to other hosts.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { PullError } from './pull-error.ts'

export interface HubClientOptions {
  /** For messages: `Hugging Face`. */
  readonly name: string
  /** Without a trailing slash. */
  readonly endpoint: string
  readonly token?: string | undefined
  /** Environment variable that holds the token, for messages. */
  readonly tokenVariable: string
  readonly signal?: AbortSignal | undefined
  /** Waits between tries. Default: a timer; for tests. */
  readonly pause?: ((milliseconds: number, signal?: AbortSignal) => Promise<void>) | undefined
  /** Maximum number of consecutive tries without progress. Default 6: about half a minute. */
  readonly tries?: number | undefined
  /** Milliseconds until the response must begin. Default 60 000. */
  readonly answerWithin?: number | undefined
}

export class HubClient {
  readonly options: HubClientOptions

  constructor(options: HubClientOptions) {
    this.options = options
  }

  get tries(): number {
    return this.options.tries ?? 6
  }

  /**
   * One request with retries. Resolves to a response with status 200 to 299, or 416; rejects with {@link PullError} for
   * others, and with the signal's reason when aborted.
   */
  async get(
    url: string,
    headers: Readonly<Record<string, string>> = {},
    signal = this.options.signal,
  ): Promise<Response> {
    for (let attempt = 1; ; attempt++) {
      let response: Response
      const timeout = new AbortController()
      const timer = setTimeout(() => timeout.abort(new Error('no answer')), this.options.answerWithin ?? 60_000)
      try {
        response = await fetch(url, {
          headers: { 'user-agent': 'omniserve', ...this.#authorization(url), ...headers },
          signal: signal === undefined ? timeout.signal : AbortSignal.any([signal, timeout.signal]),
        })
      } catch (error) {
        signal?.throwIfAborted()
        if (attempt >= this.tries) throw this.networkError(error)
        await this.wait(attempt)
        continue
      } finally {
        clearTimeout(timer)
      }
      if (response.ok || response.status === 416) return response
      const retryable = response.status === 408 || response.status === 429 || response.status >= 500
      if (!retryable || attempt >= this.tries) throw await this.#statusError(response, url)
      await response.body?.cancel()
      await this.wait(attempt, response.headers.get('retry-after'))
    }
  }

  /** No token for URLs of other hosts, which a listing may contain. */
  #authorization(url: string): Record<string, string> {
    const { token, endpoint } = this.options
    if (token === undefined || new URL(url).origin !== new URL(endpoint).origin) return {}
    return { authorization: `Bearer ${token}` }
  }

  /** Waits before try number `attempt + 1`. */
  async wait(attempt: number, retryAfter?: string | null): Promise<void> {
    const requested = retryAfter === undefined || retryAfter === null ? Number.NaN : Number(retryAfter) * 1000
    const milliseconds = Number.isFinite(requested)
      ? Math.min(Math.max(requested, 0), 120_000)
      : 500 * 2 ** Math.min(attempt, 6)
    const { pause, signal } = this.options
    if (pause !== undefined) await pause(milliseconds, signal)
    else await sleep(milliseconds, undefined, signal && { signal })
    signal?.throwIfAborted()
  }

  /** An error for a failed connection. */
  networkError(cause: unknown): PullError {
    const { name, endpoint } = this.options
    const why =
      cause instanceof Error ? (cause.cause instanceof Error ? cause.cause.message : cause.message) : String(cause)
    return new PullError(
      'network',
      `${name} (${endpoint}) cannot be reached: ${why}; run the command again to resume`,
      {
        cause,
      },
    )
  }

  async #statusError(response: Response, url: string): Promise<PullError> {
    const { name, token, tokenVariable } = this.options
    await response.body?.cancel()
    const { status } = response
    const path = new URL(url).pathname
    if (status === 401 || status === 403) {
      return new PullError(
        'unauthorized',
        token === undefined
          ? `${name} requires a token for ${path} (${status}): set ${tokenVariable}; for a gated model, first accept its terms on its page`
          : `${name} refuses the token in ${tokenVariable} for ${path} (${status}): check it, and that its owner has access to the model`,
      )
    }
    if (status === 404) {
      return new PullError('not_found', `${name} has no ${path} (404): check the id and the revision`)
    }
    if (status === 429) {
      return new PullError('rate_limited', `${name} has rate limited this client (429): wait, or set ${tokenVariable}`)
    }
    return new PullError('network', `${name} answered ${status} for ${path}; run the command again to resume`)
  }
}
