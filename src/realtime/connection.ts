/**
 * One WebSocket connection: client frames in, a session's events out, and the limits of the socket.
 *
 * In: an open socket, a dialect, and the session's ports. Frames are JSON text, handled in sequence; the socket is not
 * read while many frames wait. Out: a promise that resolves when socket and session have ended and released everything.
 */
import type { RawData, WebSocket } from 'ws'
import { structureFault } from '../protocol/index.ts'
import type { Dialect, SessionNames } from './dialects/dialect.ts'
import type { SessionEvent } from './events.ts'
import { SessionFault } from './fault.ts'
import type { SessionLimits, SessionPorts } from './ports.ts'
import { RealtimeSession } from './session.ts'

/** Bytes of frames waiting to be handled before the socket is paused. */
const MAX_PENDING_BYTES = 4 * 1024 * 1024
/** Bytes sent to a client that it has not read, before its reply pauses. */
const MAX_UNSENT_BYTES = 1024 * 1024
/** As above, before events of the client wait. Larger, so that a paused reply does not block them. */
const MAX_UNSENT_WITH_REPLIES = 8 * 1024 * 1024
/** Estimated overhead of a waiting frame, so that many empty frames also pause the socket. */
const FRAME_BYTES = 64
const REASON_BYTES = 120
/** Most names of ignored keys in the log of one session. */
const MAX_IGNORED = 32

export interface ConnectionLimits extends SessionLimits {
  /** Longest session, milliseconds. */
  readonly sessionMs: number
  /** Longest time without an event of the client or a reply, milliseconds. */
  readonly idleMs: number
  /** Interval of pings on an idle socket, milliseconds. */
  readonly pingMs: number
  /** Longest time that a client may leave sent data unread, milliseconds. */
  readonly stallMs: number
}

export type ConnectionPorts = Omit<SessionPorts, 'emit' | 'newId' | 'drained' | 'yieldToEventLoop' | 'close' | 'later'>

export interface ConnectionOptions {
  readonly dialect: Dialect
  readonly ports: ConnectionPorts
  readonly limits: ConnectionLimits
  /** Aborted when shutdown begins: the session ends after the running reply. */
  readonly stopping: AbortSignal
  /** Aborted at the end of shutdown: the session ends at once. */
  readonly signal: AbortSignal
}

/** Runs until the socket is closed. Never rejects. */
export function runConnection(socket: WebSocket, options: ConnectionOptions): Promise<void> {
  return new Connection(socket, options).run()
}

class Connection {
  readonly #socket: WebSocket
  readonly #options: ConnectionOptions
  readonly #session: RealtimeSession
  readonly #names: SessionNames
  readonly #timers = new Set<NodeJS.Timeout>()
  /** Frames that wait to be handled, in order. Null: a binary frame. */
  readonly #pendingFrames: (string | null)[] = []
  #pendingBytes = 0
  /** Ignored keys that are in the log: clients repeat them with each event. */
  readonly #ignored = new Set<string>()
  #processing = false
  #alive = true
  #closed = false
  #lastActive: number
  #waitingForDrain: (() => void)[] = []

  constructor(socket: WebSocket, options: ConnectionOptions) {
    this.#socket = socket
    this.#options = options
    const { dialect, ports, limits } = options
    this.#lastActive = ports.now()
    this.#session = new RealtimeSession(
      {
        ...ports,
        newId: (kind) => dialect.newId(kind),
        emit: (event) => this.#emit(event),
        drained: (signal) => this.#drained(signal),
        yieldToEventLoop: () => new Promise((resolve) => void setImmediate(resolve)),
        later: (milliseconds, work) => this.#later(milliseconds, work),
        close: (code, reason) => this.#close(code, reason),
      },
      dialect.initial,
      limits,
    )
    this.#names = { sessionId: this.#session.id, conversationId: this.#session.conversationId }
  }

  async run(): Promise<void> {
    const socket = this.#socket
    const { limits, signal, stopping } = this.#options
    const over = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    const stop = (): void => this.#close(1001, 'The server is stopping.')
    signal.addEventListener('abort', stop, { once: true })
    const stopWhenIdle = (): void => void this.#session.settled().then(stop)
    stopping.addEventListener('abort', stopWhenIdle, { once: true })
    socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary))
    socket.on('pong', () => (this.#alive = true))
    // ws closes the socket itself on protocol errors; the event needs a listener.
    socket.on('error', (error) => this.#options.ports.log(`socket: ${error.message}`))
    if (limits.sessionMs > 0)
      this.#later(limits.sessionMs, () => {
        this.#fault(
          new SessionFault(
            `The session has reached its limit of ${Math.round(limits.sessionMs / 1000)} seconds; open a new session.`,
            { code: 'session_expired' },
          ),
        )
        this.#close(1001, 'The session has lasted as long as it may.')
      })
    const heartbeat = setInterval(() => this.#onHeartbeat(), Math.min(limits.pingMs, limits.idleMs || limits.pingMs))
    this.#session.open()
    if (signal.aborted) stop()
    else if (stopping.aborted) stopWhenIdle()
    await over
    this.#closed = true
    clearInterval(heartbeat)
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    signal.removeEventListener('abort', stop)
    stopping.removeEventListener('abort', stopWhenIdle)
    this.#pendingFrames.length = 0
    for (const resume of this.#waitingForDrain.splice(0)) resume()
    await this.#session.close()
  }

  #later(milliseconds: number, work: () => void): void {
    if (this.#closed) return
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      work()
    }, milliseconds)
    this.#timers.add(timer)
  }

  /** Terminates half-open sockets, and closes idle sessions. */
  #onHeartbeat(): void {
    const { limits, ports } = this.#options
    // A paused socket does not read pongs.
    if (!this.#alive && !this.#socket.isPaused) {
      this.#socket.terminate()
      return
    }
    this.#alive = false
    this.#socket.ping()
    if (this.#session.replying) this.#lastActive = ports.now()
    if (limits.idleMs === 0 || ports.now() - this.#lastActive < limits.idleMs) return
    const seconds = Math.round(limits.idleMs / 1000)
    this.#fault(new SessionFault(`Nothing was sent for ${seconds} seconds.`, { code: 'session_idle' }))
    this.#close(1000, `Your session was closed because nothing was sent for ${seconds} seconds.`)
  }

  // ── in ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #onMessage(data: RawData, isBinary: boolean): void {
    this.#lastActive = this.#options.ports.now()
    this.#alive = true
    const text = isBinary ? null : (data as Buffer).toString()
    this.#pendingFrames.push(text)
    this.#pendingBytes += frameBytes(text)
    if (this.#pendingBytes > MAX_PENDING_BYTES) this.#socket.pause()
    if (!this.#processing) void this.#processFrames()
  }

  async #processFrames(): Promise<void> {
    this.#processing = true
    for (;;) {
      const text = this.#pendingFrames.shift()
      if (text === undefined || this.#closed) break
      this.#pendingBytes -= frameBytes(text)
      await this.#handle(text)
      if (this.#socket.bufferedAmount > MAX_UNSENT_WITH_REPLIES) await this.#drained()
      if (this.#socket.isPaused && this.#pendingBytes <= MAX_PENDING_BYTES / 2) this.#socket.resume()
    }
    this.#processing = false
  }

  async #handle(text: string | null): Promise<void> {
    let eventId: string | undefined
    try {
      if (text === null)
        throw new SessionFault('Binary frames are not supported: send JSON in text frames, with audio in Base64.', {
          code: 'invalid_frame',
        })
      const event = parse(text)
      const given = event['event_id']
      eventId = typeof given === 'string' ? given.slice(0, 512) : undefined
      const command = this.#options.dialect.read(event, this.#session.config)
      this.#logIgnored(event)
      await this.#session.handle(command)
    } catch (error) {
      if (this.#closed) return
      const fault = faultOf(error)
      if (fault.code === 'internal_error')
        this.#options.ports.log(
          `an event failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        )
      this.#fault(fault, eventId)
    }
  }

  #logIgnored(event: Readonly<Record<string, unknown>>): void {
    const paths = this.#options.dialect.ignored(event).map((path) => `${String(event['type'])}: ${path}`)
    const fresh = paths.filter((path) => !this.#ignored.has(path)).slice(0, MAX_IGNORED - this.#ignored.size)
    if (fresh.length === 0) return
    for (const path of fresh) this.#ignored.add(path)
    this.#options.ports.log(`not supported and ignored: ${fresh.join(', ')}`)
  }

  // ── out ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #fault(fault: SessionFault, eventId?: string): void {
    this.#emit({ type: 'fault', fault, eventId })
    if (fault.close !== undefined) this.#close(fault.close, fault.message)
  }

  #emit(event: SessionEvent): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return
    for (const { type, ...rest } of this.#options.dialect.write(event, this.#names)) {
      const frame = JSON.stringify({ event_id: this.#options.dialect.newId('event'), type, ...rest })
      this.#socket.send(frame, () => this.#onSent())
    }
  }

  #onSent(): void {
    if (this.#socket.bufferedAmount > MAX_UNSENT_BYTES) return
    for (const resume of this.#waitingForDrain.splice(0)) resume()
  }

  /** Waits until the client has read enough. A client that takes longer than `stallMs` is disconnected. */
  async #drained(signal?: AbortSignal): Promise<void> {
    if (this.#socket.bufferedAmount <= MAX_UNSENT_BYTES || this.#closed) return
    const { stallMs } = this.#options.limits
    const timer = stallMs === 0 ? undefined : setTimeout(() => this.#socket.terminate(), stallMs)
    await new Promise<void>((resolve) => {
      const resume = (): void => {
        signal?.removeEventListener('abort', resume)
        resolve()
      }
      this.#waitingForDrain.push(resume)
      signal?.addEventListener('abort', resume, { once: true })
    })
    clearTimeout(timer)
  }

  #close(code: number, reason: string): void {
    const bytes = Buffer.from(reason).subarray(0, REASON_BYTES)
    // Removes a character that was cut in the middle.
    this.#socket.close(code, bytes.toString().replace(/\uFFFD+$/, ''))
    // A peer that does not answer the close frame is disconnected.
    this.#later(5000, () => this.#socket.terminate())
  }
}

function frameBytes(text: string | null): number {
  return (text?.length ?? 0) + FRAME_BYTES
}

/** @throws SessionFault */
function parse(text: string): Readonly<Record<string, unknown>> {
  const structure = structureFault(text)
  if (structure !== undefined) throw new SessionFault(`The frame is refused: ${structure}`, { code: 'invalid_json' })
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new SessionFault('The frame is not JSON.', { code: 'invalid_json' })
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new SessionFault('The frame should contain a JSON object.', { code: 'invalid_json' })
  return json as Readonly<Record<string, unknown>>
}

function faultOf(error: unknown): SessionFault {
  if (error instanceof SessionFault) return error
  // Errors of the HTTP API keep their text, code and field.
  if (error instanceof Error && error.name === 'ApiError') {
    const { code, param, type } = error as unknown as { code: string | null; param: string | null; type: string }
    return new SessionFault(error.message, { code: code ?? 'invalid_value', type, ...(param !== null && { param }) })
  }
  return new SessionFault('An internal error has occured, please try again later.', {
    code: 'internal_error',
    type: 'server_error',
    cause: error,
  })
}
