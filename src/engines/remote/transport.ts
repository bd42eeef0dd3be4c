/**
 * HTTP to one peer: a pool of connections, time limits, server-sent events read only as fast as they are consumed.
 *
 * In: requests. Out: small answers, or the `data` of a stream's events. Every failure is a {@link RemoteError} with its
 * meaning for the peer's health; an abort rejects with its signal's reason and closes the connection, which stops the
 * peer's work.
 */

import { createParser } from 'eventsource-parser'
import { type Dispatcher, errors as undiciErrors, Pool } from 'undici'
import { BodyChunks } from './body-chunks.ts'
import { LinkedAbort } from './linked-abort.ts'
import { RemoteError } from './remote-error.ts'
import type { PeerEvent } from './wire/read-event.ts'

export interface HttpAnswer {
  readonly status: number
  /** As text, at most a megabyte of it. */
  readonly body: string
}

/** All in milliseconds. */
export interface TransportLimits {
  readonly connect: number
  /** Until the first byte of a reply, waiting in the peer's queue included. */
  readonly firstByte: number
  /** Silence that counts as failure, once the reply has begun. */
  readonly idle: number
  /** Of a health check or another small request. */
  readonly ask: number
}

export const DEFAULT_LIMITS: TransportLimits = { connect: 2000, firstByte: 300_000, idle: 10_000, ask: 2000 }

export interface StreamRequest {
  readonly path: string
  readonly body: unknown
  readonly headers: Readonly<Record<string, string>>
  /** Whether silence already counts as failure. */
  readonly begun: () => boolean
  /** Which of its own replicas answers, from a peer that has some. */
  readonly servedBy?: (name: string) => void
  /** An answer that is no stream of events. */
  readonly refused: (status: number, body: string, retryAfterMs: number | undefined) => RemoteError
}

/** The data of a stream's last event. */
export const END_MARK = '[DONE]'

const LONGEST_ANSWER = 1 << 20
/** Milliseconds for the bytes after the last event. */
const REST_WITHIN = 1000
/** Characters of one event: 20 minutes of speech in Base64. */
const LONGEST_EVENT = 1 << 26

/**
 * How a connection breaks that was closed at its other end; later than so many milliseconds it is the request that was
 * cut.
 */
const STALE: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])
const STALE_WITHIN = 1000
const STALE_TRIES = 3

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
      // Well below the 5 s after which vLLM closes idle connections: undici's clock ticks in seconds.
      keepAliveTimeout: 2000,
      keepAliveMaxTimeout: 2000,
      // Time limits are kept here, because a reader that pauses is not a peer that is silent.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
  }

  /** A small request with a small answer, whatever its status. @throws RemoteError */
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
   * Posts, and yields the events of each read. Ends when the peer closes the stream.
   * @throws RemoteError; the signal's reason once aborted
   */
  async *stream(request: StreamRequest, signal: AbortSignal): AsyncGenerator<readonly PeerEvent[], void, undefined> {
    signal.throwIfAborted()
    using watch = new Watch(signal)
    let seen = false
    try {
      watch.expect(this.#limits.firstByte)
      const answer = await this.#request({
        method: 'POST',
        path: this.#prefix + request.path,
        headers: this.#headers(request.headers),
        body: JSON.stringify(request.body),
        signal: watch.signal,
      })
      const type = String(answer.headers['content-type'] ?? '').toLowerCase()
      if (answer.statusCode !== 200 || !type.includes('event-stream')) {
        const text = await readAll(answer.body)
        const after = Number(answer.headers['retry-after'])
        throw request.refused(answer.statusCode, text, Number.isFinite(after) ? after * 1000 : undefined)
      }
      const by = answer.headers['x-omniserve-served-by']
      if (typeof by === 'string' && /^[\w./-]{1,200}$/.test(by)) request.servedBy?.(by)
      let events: PeerEvent[] = []
      let tooLong = false
      const parser = createParser({
        // An event without data is none: some peers keep the connection open with them.
        onEvent: (event) => event.data !== '' && events.push(event),
        onError: ({ type: kind }) => (tooLong ||= kind === 'max-buffer-size-exceeded'),
        maxBufferSize: LONGEST_EVENT,
      })
      const decoder = new TextDecoder()
      const chunks = new BodyChunks(answer.body)
      let done = false
      try {
        for (;;) {
          watch.expect(request.begun() ? this.#limits.idle : this.#limits.firstByte)
          const chunk = await chunks.next()
          watch.rest()
          if (chunk === undefined) return
          seen = true
          parser.feed(decoder.decode(chunk, { stream: true }))
          if (tooLong) throw new RemoteError('upstream_failed', 'The peer sent an event without end.', 'eject')
          if (events.length === 0) continue
          const read = events
          events = []
          done = read.some(({ data }) => data === END_MARK)
          yield read
        }
      } finally {
        if (done) chunks.complete(REST_WITHIN)
        // Closes the connection when the reply is left early.
        else answer.body.destroy()
      }
    } catch (error) {
      signal.throwIfAborted()
      if (watch.expired) throw silence(request.begun(), this.#limits)
      if (error instanceof RemoteError) throw error
      throw connectionError(error, seen)
    }
  }

  /** A connection that the peer closed while it lay idle breaks at once and unanswered; then others are tried. */
  async #request(
    options: Dispatcher.RequestOptions & { readonly signal: AbortSignal },
  ): Promise<Dispatcher.ResponseData> {
    const sent = performance.now()
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#pool.request(options)
      } catch (error) {
        const late = performance.now() - sent > STALE_WITHIN || attempt === STALE_TRIES
        if (late || options.signal.aborted || !STALE.has(codeOf(error))) throw error
      }
    }
  }

  /** Closes what is open. */
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

/** One limit of time after another, joined with the caller's signal. Its timer is set once for many of them. */
class Watch extends LinkedAbort {
  #timer: NodeJS.Timeout | undefined
  #last: NodeJS.Immediate | undefined
  /** When the timer fires and when the limit ends, by `performance.now()`; none while the reader pauses. */
  #firesAt = Number.POSITIVE_INFINITY
  #endsAt = Number.POSITIVE_INFINITY
  expired = false

  expect(milliseconds: number): void {
    this.#endsAt = performance.now() + milliseconds
    if (this.#firesAt > this.#endsAt) this.#set(milliseconds)
  }

  /** While the reader pauses. */
  rest(): void {
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
      // What came while this process was busy is read first.
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

function silence(begun: boolean, limits: TransportLimits): RemoteError {
  return begun
    ? new RemoteError(
        'engine_crashed',
        `The peer fell silent for ${limits.idle} ms in the middle of its reply.`,
        'eject',
      )
    : new RemoteError('timeout', `The peer did not begin its reply within ${limits.firstByte} ms.`, 'strike')
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** @param begun whether bytes of the reply had come */
function connectionError(error: unknown, begun: boolean): RemoteError {
  const code = codeOf(error)
  const text = error instanceof Error ? error.message : String(error)
  if (begun) return new RemoteError('engine_crashed', `The peer cut its reply: ${text}`, 'eject', { cause: error })
  const unreachable = /ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN/.test(code)
  if (unreachable || error instanceof undiciErrors.ConnectTimeoutError)
    return new RemoteError('upstream_failed', `The peer cannot be reached: ${text || code}`, 'eject', { cause: error })
  if (/^(EPROTO$|ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|HOSTNAME_)|SELF_SIGNED/.test(code))
    return new RemoteError('upstream_failed', `TLS to the peer fails: ${text}`, 'eject', { cause: error })
  return new RemoteError('upstream_failed', `The connection to the peer broke: ${text || code}`, 'strike', {
    cause: error,
  })
}

async function readAll(body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of body) {
    pieces.push(piece)
    length += piece.length
    if (length > LONGEST_ANSWER) break
  }
  return Buffer.concat(pieces).toString('utf8')
}
