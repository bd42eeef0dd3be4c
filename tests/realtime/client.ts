/** A raw WebSocket client for tests of realtime sessions. */
import { WebSocket } from 'ws'
import { twoSentences } from '../../testing/recording.ts'

export { twoSentences }

export const MODEL_QUERY = 'model=qwen3-omni-flash-realtime'

/** What DashScope's own SDKs send in `session.update`. */
export const SDK_SESSION = {
  modalities: ['audio', 'text'],
  voice: null,
  input_audio_format: 'pcm16',
  output_audio_format: 'pcm16',
  input_audio_transcription: { model: null },
  turn_detection: { type: 'server_vad', threshold: 0.2, prefix_padding_ms: 300, silence_duration_ms: 800 },
  smooth_output: true,
}

export type ServerEvent = { readonly type: string; readonly event_id: string } & Readonly<Record<string, any>>

export class RealtimeClient implements AsyncDisposable {
  readonly socket: WebSocket
  readonly events: ServerEvent[] = []
  readonly closed: Promise<{ code: number; reason: string }>
  #changed: (() => void)[] = []
  #seen = 0

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.on('message', (data) => {
      this.events.push(JSON.parse((data as Buffer).toString()) as ServerEvent)
      for (const go of this.#changed.splice(0)) go()
    })
    this.closed = new Promise((resolve) => {
      socket.once('close', (code, reason) => {
        resolve({ code, reason: reason.toString() })
        for (const go of this.#changed.splice(0)) go()
      })
    })
  }

  /** Resolves once open. Rejects with the status of a refusal. */
  static async open(
    url: string,
    headers: Record<string, string> = {},
    protocols: string[] = [],
  ): Promise<RealtimeClient> {
    const socket = new WebSocket(url.replace(/^http/, 'ws'), protocols, { headers })
    const client = new RealtimeClient(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('open', () => resolve())
      socket.once('error', reject)
    })
    return client
  }

  /** A session in the hosted service's dialect. */
  static dashscope({ url }: { readonly url: string }, query = MODEL_QUERY): Promise<RealtimeClient> {
    return RealtimeClient.open(`${url}/api-ws/v1/realtime?${query}`)
  }

  get types(): string[] {
    return this.events.map(({ type }) => type)
  }

  send(event: object): void {
    this.socket.send(JSON.stringify(event))
  }

  /** The next event of this type, after the last one waited for. */
  async next(type: string): Promise<ServerEvent> {
    for (;;) {
      const at = this.events.findIndex((event, index) => index >= this.#seen && event.type === type)
      if (at >= 0) {
        this.#seen = at + 1
        return this.events[at]!
      }
      if (this.socket.readyState === WebSocket.CLOSED)
        throw new Error(`closed while waiting for ${type}: ${JSON.stringify(this.events.at(-1))}`)
      await new Promise<void>((resolve) => this.#changed.push(resolve))
    }
  }

  /** Sends `session.update`; the session that it is answered with. */
  async update(session: object): Promise<Readonly<Record<string, any>>> {
    this.send({ type: 'session.update', session })
    return (await this.next('session.updated'))['session'] as Readonly<Record<string, any>>
  }

  /** Creates a message of one text. */
  write(text: string, { role = 'user', id }: { role?: string; id?: string } = {}): void {
    const item = { ...(id !== undefined && { id }), type: 'message', role, content: [{ type: 'input_text', text }] }
    this.send({ type: 'conversation.item.create', item })
  }

  /** Asks for a reply and waits for its end. */
  async reply(response?: object): Promise<Readonly<Record<string, any>>> {
    this.send({ type: 'response.create', ...(response && { response }) })
    return (await this.next('response.done'))['response'] as Readonly<Record<string, any>>
  }

  /** Speaks a turn that is ended by hand. */
  say(samples: Float32Array, rate?: number): void {
    this.speak(samples, rate)
    this.send({ type: 'input_audio_buffer.commit' })
  }

  /** Appends PCM in pieces of 100 ms. */
  speak(samples: Float32Array, rate = 16_000): void {
    const piece = rate / 10
    for (let at = 0; at < samples.length; at += piece) {
      this.send({ type: 'input_audio_buffer.append', audio: pcmBase64(samples.subarray(at, at + piece)) })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.close()
    await this.closed
  }
}

/** Types in their order; runs of equal ones are listed once. */
export function order(types: readonly string[]): string[] {
  return types.filter((type, index) => type !== types[index - 1])
}

export function pcmBase64(samples: Float32Array): string {
  const pcm = Int16Array.from(samples, (sample) => Math.round(sample * 32_767))
  return Buffer.from(pcm.buffer).toString('base64')
}

/** The first sentence of the recording with half a second of silence before it and 0.9 seconds after it. */
export const oneSentence = twoSentences.subarray(0, 44_000)
/** Zeros, 16 kHz. */
export const silence = (seconds: number): Float32Array => new Float32Array(Math.round(seconds * 16_000))

/** 16 to 24 kHz by linear interpolation. */
export function to24k(samples: Float32Array): Float32Array {
  return Float32Array.from({ length: Math.floor(samples.length * 1.5) }, (_, index) => {
    const at = index / 1.5
    const low = Math.floor(at)
    const share = at - low
    return samples[low]! * (1 - share) + (samples[low + 1] ?? 0) * share
  })
}
