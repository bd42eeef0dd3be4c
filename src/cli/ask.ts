/**
 * One request and its streamed reply, over the wire.
 *
 * In: a body of `POST chat/completions`. Out: deltas as they arrive, then a {@link Reply} with usage and times.
 * Supports the chunks of this server and of the hosted service.
 */
import { PcmReader } from '../arithmetic/pcm.ts'
import { type ChatCompletionChunk, type ChatCompletionRequest, DONE, readSse, type Usage } from '../protocol/index.ts'
import { apiFailure, type ApiConnection } from './api-connection.ts'

export const SPEECH_RATE = 24_000

export interface ReplyListener {
  readonly onReasoning?: (text: string) => void
  readonly onText?: (text: string) => void
  /** 24 kHz mono. */
  readonly onSpeech?: (samples: Int16Array) => void
  /** The server's warnings, before the reply begins. */
  readonly onWarning?: (text: string) => void
}

export interface Reply {
  readonly id: string
  readonly text: string
  readonly reasoning: string
  readonly finishReason: string | null
  readonly usage: Usage | null
  /** Samples of speech. */
  readonly samples: number
  /** Milliseconds from sending to the first text (reasoning included), the first sample, and the end. */
  readonly times: { readonly firstToken: number | null; readonly firstAudio: number | null; readonly total: number }
  readonly pace: TextPace
}

/** How text arrived, reasoning included: the basis of a token rate. */
export interface TextPace {
  /** Reads of the connection that brought text. */
  readonly reads: number
  /** Pieces of text, and those of the first read. */
  readonly pieces: number
  readonly piecesOfFirstRead: number
  /** Milliseconds from the first read with text to the last. */
  readonly milliseconds: number
}

/** Tokens per second after the first read; null when text came in fewer than three reads, too few for a rate. */
export function textRate(tokens: number, { reads, pieces, piecesOfFirstRead, milliseconds }: TextPace): number | null {
  if (reads < 3 || milliseconds <= 0) return null
  return (tokens * (1 - piecesOfFirstRead / pieces)) / (milliseconds / 1000)
}

/**
 * Sends `body` (streaming and usage are added) and reads the reply.
 * @throws CommandError when the server cannot be reached, refuses, or breaks off; the signal's reason once aborted
 */
export async function ask(
  api: ApiConnection,
  body: Omit<ChatCompletionRequest, 'stream' | 'stream_options'>,
  listener: ReplyListener,
  signal: AbortSignal,
): Promise<Reply> {
  const begun = performance.now()
  const response = await api.fetch('/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  })
  const warnings = response.headers.get('x-omniserve-warnings')
  if (warnings !== null) listener.onWarning?.(decodeURI(warnings))
  const samples = new PcmReader()
  const reply = { id: '', text: '', reasoning: '', finishReason: null as string | null, usage: null as Usage | null }
  let firstToken: number | null = null
  let firstAudio: number | null = null
  let count = 0
  const since = (): number => performance.now() - begun
  if (response.body === null) throw apiFailure(response.status, 'the reply has no body', null)
  const pace = new PaceMeter()
  for await (const data of readSse(pace.counted(response.body))) {
    signal.throwIfAborted()
    if (data === DONE) break
    const event: ChatCompletionChunk | { error: unknown } = JSON.parse(data)
    if ('error' in event) throw apiFailure(response.status, data, response.headers.get('x-request-id'))
    reply.id = event.id
    reply.usage = event.usage ?? reply.usage
    const choice = event.choices[0]
    if (choice === undefined) continue
    reply.finishReason = choice.finish_reason ?? reply.finishReason
    const { content, reasoning_content: reasoning, audio } = choice.delta
    if (reasoning) {
      firstToken ??= since()
      pace.text(since())
      reply.reasoning += reasoning
      listener.onReasoning?.(reasoning)
    }
    const text = (content ?? '') + (audio?.transcript ?? '')
    if (text !== '') {
      firstToken ??= since()
      pace.text(since())
      reply.text += text
      listener.onText?.(text)
    }
    if (audio?.data) {
      const pcm = samples.read(Buffer.from(audio.data, 'base64'))
      if (pcm.length === 0) continue
      firstAudio ??= since()
      count += pcm.length
      listener.onSpeech?.(pcm)
    }
  }
  signal.throwIfAborted()
  return { ...reply, samples: count, times: { firstToken, firstAudio, total: since() }, pace: pace.result }
}

class PaceMeter {
  #read = 0
  #lastTextRead = 0
  #reads = 0
  #pieces = 0
  #piecesOfFirstRead = 0
  #first = 0
  #last = 0

  /** The body; its reads are counted as they are consumed. */
  counted(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const reader = body.getReader()
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const { done, value } = await reader.read()
          if (done) {
            controller.close()
            return
          }
          this.#read += 1
          controller.enqueue(value)
        },
        cancel: (reason) => reader.cancel(reason),
      },
      // Nothing is read ahead, so that a piece belongs to the latest read.
      { highWaterMark: 0 },
    )
  }

  /** A piece of text, at a time in milliseconds. */
  text(now: number): void {
    if (this.#read !== this.#lastTextRead) {
      this.#lastTextRead = this.#read
      this.#reads += 1
      if (this.#reads === 1) this.#first = now
      this.#last = now
    }
    this.#pieces += 1
    if (this.#reads === 1) this.#piecesOfFirstRead += 1
  }

  get result(): TextPace {
    return {
      reads: this.#reads,
      pieces: this.#pieces,
      piecesOfFirstRead: this.#piecesOfFirstRead,
      milliseconds: this.#last - this.#first,
    }
  }
}
