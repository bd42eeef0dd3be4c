/**
 * HTTP client for one peer: connection pool, timeouts, and server-sent events with backpressure.
 *
 * In: requests. Out: small responses, or the events of a stream. Every failure is a {@link RemoteError} with its effect
 * on the peer's health. An abort rejects with the signal's reason and closes the connection, which stops the peer's
 * work.
 */

import { createParser } from 'eventsource-parser'
import { type Dispatcher, errors as undiciErrors, Pool } from 'undici'
import { BodyChunks } from './body-chunks.ts'
import { LinkedAbort } from './linked-abort.ts'
import { RemoteError } from './remote-error.ts'
import type { PeerEvent } from './wire/read-event.ts'

export interface HttpAnswer {
  readonly status: number
  /** Text of the body, at most one mebibyte. */
  readonly body: string
}

/** All in milliseconds. */
export interface TransportLimits {
  readonly connect: number
  /** Until the first byte of a reply, including time in the peer's request queue. */
  readonly firstByte: number
  /** Longest time without data after the start of a reply. */
  readonly idle: number
  /** For a health check or another small request. */
  readonly ask: number
}

export const DEFAULT_LIMITS: TransportLimits = { connect: 2000, firstByte: 300_000, idle: 10_000, ask: 2000 }

export interface StreamRequest {
  readonly path: string
  readonly body: unknown
  readonly headers: Readonly<Record<string, string>>
  /** Whether the reply has started, so that the idle limit applies. */
  readonly started: () => boolean
  /** Called with the name of the peer's replica, if the peer reports one. */
  readonly servedBy?: (name: string) => void
  /** Converts a response that is not an event stream. */
  readonly toError: (status: number, body: string, retryAfterMs: number | undefined) => RemoteError
}

/** The data of a stream's last event. */
export const END_MARK = '[DONE]'

const MAX_ANSWER_BYTES = 1 << 20
/** Time to read the bytes after the last event, milliseconds. */
const DRAIN_MS = 1000
/** Characters of one event: 20 minutes of speech in Base64. */
const MAX_EVENT_CHARACTERS = 1 << 26

/**
 * Error codes of a pooled connection that the peer has closed. They count only within this many milliseconds: later,
 * the request itself was interrupted.
 */
const STALE_CODES: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])
const STALE_MS = 1000
const STALE_ATTEMPTS = 3

export class Transport {
  readonly #pool: Pool
  readonly #prefix: string
  readonly #limits: TransportLimits
  readonly #key: string | undefined

  /** @param url of the peer, with the path its API is below, without a slash at the end */
  constructor(url: string, key: string | undefined, limits: TransportLimits) {
    const { origin, pathname } = new URL(url)
    this.#prefix = pathname.replace(/\/+$/, '')
    this.#limits = limits
    this.#key = key
    this.#pool = new Pool(origin, {
      connect: { timeout: limits.connect },
      // Well below the 5 s after which vLLM closes idle connections, because undici's timers are coarse.
      keepAliveTimeout: 2000,
      keepAliveMaxTimeout: 2000,
      // This class has its own timeouts, which do not run while the reader pauses.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
  }

  /** Sends a small request. Resolves with any status. @throws RemoteError */
  async ask(method: 'GET' | 'POST', path: string, body: unknown, signal: AbortSignal): Promise<HttpAnswer> {
    const limit = AbortSignal.timeout(this.#limits.ask)
    try {
      const answer = await this.#request({
        method,
        path: this.#prefix + path,
        headers: this.#headers({}),
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.any([signal, limit]),
      })
      return { status: answer.statusCode, body: await readAll(answer.body) }
    } catch (error) {
      signal.throwIfAborted()
      if (limit.aborted)
        throw new RemoteError('timeout', `The peer did not answer within ${this.#limits.ask} ms.`, 'strike')
      throw connectionError(error, false)
    }
  }

  /**
   * Sends a POST request, and yields the events of each chunk. Ends when the peer ends the stream.
   * @throws RemoteError, or the signal's reason once aborted
   */
  async *stream(request: StreamRequest, signal: AbortSignal): AsyncGenerator<readonly PeerEvent[], void, undefined> {
    signal.throwIfAborted()
    using deadline = new Deadline(signal)
    let received = false
    try {
      deadline.start(this.#limits.firstByte)
      const answer = await this.#request({
        method: 'POST',
        path: this.#prefix + request.path,
        headers: this.#headers(request.headers),
        body: JSON.stringify(request.body),
        signal: deadline.signal,
      })
      const type = String(answer.headers['content-type'] ?? '').toLowerCase()
      if (answer.statusCode !== 200 || !type.includes('event-stream')) {
        const text = await readAll(answer.body)
        const after = Number(answer.headers['retry-after'])
        throw request.toError(answer.statusCode, text, Number.isFinite(after) ? after * 1000 : undefined)
      }
      const by = answer.headers['x-omniserve-served-by']
      if (typeof by === 'string' && /^[\w./-]{1,200}$/.test(by)) request.servedBy?.(by)
      let events: PeerEvent[] = []
      let tooLong = false
      const parser = createParser({
        // Events without data are keep-alives.
        onEvent: (event) => event.data !== '' && events.push(event),
        onError: ({ type: kind }) => (tooLong ||= kind === 'max-buffer-size-exceeded'),
        maxBufferSize: MAX_EVENT_CHARACTERS,
      })
      const decoder = new TextDecoder()
      const chunks = new BodyChunks(answer.body)
      let done = false
      try {
        for (;;) {
          deadline.start(request.started() ? this.#limits.idle : this.#limits.firstByte)
          const chunk = await chunks.next()
          deadline.pause()
          if (chunk === undefined) return
          received = true
          parser.feed(decoder.decode(chunk, { stream: true }))
          if (tooLong) throw new RemoteError('upstream_failed', 'The peer sent an event that is too long.', 'eject')
          if (events.length === 0) continue
          const read = events
          events = []
          done = read.some(({ data }) => data === END_MARK)
          yield read
        }
      } finally {
        if (done) chunks.drain(DRAIN_MS)
        // Closes the connection if the reader stops early.
        else answer.body.destroy()
      }
    } catch (error) {
      signal.throwIfAborted()
      if (deadline.expired) throw silenceError(request.started(), this.#limits)
      if (error instanceof RemoteError) throw error
      throw connectionError(error, received)
    }
  }

  /** Sends a request, and retries when the pooled connection turns out to be closed by the peer. */
  async #request(
    options: Dispatcher.RequestOptions & { readonly signal: AbortSignal },
  ): Promise<Dispatcher.ResponseData> {
    const sent = performance.now()
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#pool.request(options)
      } catch (error) {
        const late = performance.now() - sent > STALE_MS || attempt === STALE_ATTEMPTS
        if (late || options.signal.aborted || !STALE_CODES.has(codeOf(error))) throw error
      }
    }
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    await this.#pool.destroy()
  }

  #headers(extra: Readonly<Record<string, string>>): Record<string, string> {
    return {
      'content-type': 'application/json',
      ...(this.#key !== undefined && { authorization: `Bearer ${this.#key}` }),
      ...extra,
    }
  }
}

/** A series of timeouts, combined with the caller's signal. One timer serves many of them. */
class Deadline extends LinkedAbort {
  #timer: NodeJS.Timeout | undefined
  #last: NodeJS.Immediate | undefined
  /** When the timer fires, and when the timeout ends, by `performance.now()`. Infinity while the reader pauses. */
  #firesAt = Number.POSITIVE_INFINITY
  #endsAt = Number.POSITIVE_INFINITY
  expired = false

  start(milliseconds: number): void {
    this.#endsAt = performance.now() + milliseconds
    if (this.#firesAt > this.#endsAt) this.#set(milliseconds)
  }

  /** Stops the timeout while the reader pauses. */
  pause(): void {
    this.#endsAt = Number.POSITIVE_INFINITY
  }

  #set(milliseconds: number): void {
    clearTimeout(this.#timer)
    this.#firesAt = performance.now() + milliseconds
    this.#timer = setTimeout(() => {
      this.#firesAt = Number.POSITIVE_INFINITY
      const left = this.#endsAt - performance.now()
      if (left === Number.POSITIVE_INFINITY) return
      if (left > 0) this.#set(left)
      // Data that arrived while this process was busy is read first.
      else this.#last = setImmediate(() => this.#expire())
    }, milliseconds)
  }

  #expire(): void {
    if (this.#endsAt > performance.now()) return
    this.expired = true
    this.abort(new Error('silence'))
  }

  override [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#last)
    super[Symbol.dispose]()
  }
}

function silenceError(started: boolean, limits: TransportLimits): RemoteError {
  return started
    ? new RemoteError('engine_crashed', `The peer sent nothing for ${limits.idle} ms during its reply.`, 'eject')
    : new RemoteError('timeout', `The peer did not start its reply within ${limits.firstByte} ms.`, 'strike')
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** @param started whether bytes of the reply had arrived */
function connectionError(error: unknown, started: boolean): RemoteError {
  const code = codeOf(error)
  const text = error instanceof Error ? error.message : String(error)
  if (started)
    return new RemoteError('engine_crashed', `The peer's reply was interrupted: ${text}`, 'eject', { cause: error })
  const unreachable = /ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN/.test(code)
  if (unreachable || error instanceof undiciErrors.ConnectTimeoutError)
    return new RemoteError('upstream_failed', `The peer cannot be reached: ${text || code}`, 'eject', { cause: error })
  if (/^(EPROTO$|ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|HOSTNAME_)|SELF_SIGNED/.test(code))
    return new RemoteError('upstream_failed', `The TLS connection to the peer failed: ${text}`, 'eject', {
      cause: error,
    })
  return new RemoteError('upstream_failed', `The connection to the peer was lost: ${text || code}`, 'strike', {
    cause: error,
  })
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of body) {
    pieces.push(piece)
    length += piece.length
    if (length > MAX_ANSWER_BYTES) break
  }
  return Buffer.concat(pieces).toString('utf8')
}
