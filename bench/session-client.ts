/**
 * A realtime session as a client on the wire times it: audio sent at the pace of speech, the reply's events with their
 * arrival times.
 *
 * In: a server and 16 kHz samples. Out: milliseconds from the end of the speech, or from an interruption, to the event
 * that answers it.
 */

import { WebSocket } from 'ws'
import type { Server } from './speech-client.ts'

const RATE = 16_000

interface ReceivedEvent {
  readonly type: string
  readonly at: number
  readonly event: Readonly<Record<string, unknown>>
}

export class SessionClient implements AsyncDisposable {
  readonly #socket: WebSocket
  readonly #closed: Promise<void>
  #events: ReceivedEvent[] = []
  #wake: (() => void)[] = []

  private constructor(socket: WebSocket) {
    this.#socket = socket
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()))
    socket.on('message', (data) => {
      const event = JSON.parse((data as Buffer).toString()) as Record<string, unknown>
      this.#events.push({ type: String(event['type']), at: performance.now(), event })
      for (const go of this.#wake.splice(0)) go()
    })
    void this.#closed.then(() => this.#wake.splice(0).forEach((go) => go()))
  }

  /**
   * A session in DashScope's dialect without transcripts. `true`: the client ends turns; otherwise silence of
   * this many milliseconds does.
   */
  static async open(server: Server, byHand: boolean | { readonly silenceMs: number }): Promise<SessionClient> {
    const url = `${server.url.replace(/^http/, 'ws')}/api-ws/v1/realtime?model=qwen3-omni-flash-realtime`
    const socket = new WebSocket(url)
    const client = new SessionClient(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('open', () => resolve())
      socket.once('error', reject)
    })
    const server_vad = (silence_duration_ms: number): object => ({ type: 'server_vad', silence_duration_ms })
    const turns = byHand === true ? null : byHand === false ? {} : server_vad(byHand.silenceMs)
    client.send({ type: 'session.update', session: { input_audio_transcription: null, turn_detection: turns } })
    await client.next('session.updated')
    return client
  }

  send(event: object): void {
    this.#socket.send(JSON.stringify(event))
  }

  /**
   * The next event of a type; those before it are forgotten. Throws for an error event, and when the session is
   * closed.
   */
  async next(type: string): Promise<ReceivedEvent> {
    for (;;) {
      const at = this.#events.findIndex((event) => event.type === type || event.type === 'error')
      const found = this.#events[at]
      if (found) {
        this.#events = this.#events.slice(at + 1)
        if (found.type === type) return found
        throw new Error(`the session answered ${JSON.stringify(found.event)}`)
      }
      if (this.#socket.readyState !== WebSocket.OPEN) throw new Error(`the session closed before ${type}`)
      await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
  }

  /**
   * Sends samples at the pace of speech, each piece at the time of its last sample. Returns the time at which the
   * last one was sent.
   */
  async speak(samples: Float32Array, signal: AbortSignal, pieceMs = 100): Promise<number> {
    const begun = performance.now()
    const piece = (RATE * pieceMs) / 1000
    for (let at = 0; at < samples.length; at += piece) {
      const part = samples.subarray(at, at + piece)
      await until(begun + ((at + part.length) / RATE) * 1000, signal)
      this.send({ type: 'input_audio_buffer.append', audio: base64(part) })
    }
    return performance.now()
  }

  /** Ends the turn by hand and waits for the reply's first audio: milliseconds. */
  async answerOf(spoken: number): Promise<number> {
    this.send({ type: 'input_audio_buffer.commit' })
    this.send({ type: 'response.create' })
    const { at } = await this.next('response.audio.delta')
    return at - spoken
  }

  /** Milliseconds from `response.cancel` to the end of the reply. */
  async cancel(): Promise<number> {
    const begun = performance.now()
    this.send({ type: 'response.cancel' })
    const { at } = await this.next('response.done')
    return at - begun
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close()
    await this.#closed
  }
}

async function until(time: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const left = time - performance.now()
  if (left > 0) await new Promise((resolve) => setTimeout(resolve, left))
}

function base64(samples: Float32Array): string {
  const pcm = Int16Array.from(samples, (sample) => Math.round(sample * 32_767))
  return Buffer.from(pcm.buffer).toString('base64')
}
