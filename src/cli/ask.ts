/**
 * Sends one chat request and reads its streamed reply.
 *
 * In: a body of `POST chat/completions`. Out: deltas as they arrive, then a {@link Reply} with usage and times. Works
 * with this server and with the hosted service.
 */
import { PcmReader } from '../arithmetic/pcm.ts'
import type { ChatCompletionChunk, ChatCompletionRequest, Usage } from '../protocol/index.ts'
import { DONE, readSse } from '../protocol/sse.ts'
import { apiFailure, type ApiConnection } from './api-connection.ts'

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
  /** Number of speech samples, 24 kHz. */
  readonly samples: number
  /** Milliseconds from sending to the first text (reasoning included), the first sample, and the end. */
  readonly times: { readonly firstToken: number | null; readonly firstAudio: number | null; readonly total: number }
  readonly pace: TextPace
}

/** How text arrived, reasoning included; {@link textRate} computes a token rate from it. */
export interface TextPace {
  /** Reads of the connection that contained text. */
  readonly reads: number
  /** Text deltas in all, and in the first read. */
  readonly deltas: number
  readonly deltasOfFirstRead: number
  /** Milliseconds from the first read with text to the last. */
  readonly milliseconds: number
}

/** Tokens per second after the first read; null for fewer than three reads, which are too few for a rate. */
export function textRate(tokens: number, { reads, deltas, deltasOfFirstRead, milliseconds }: TextPace): number | null {
  if (reads < 3 || milliseconds <= 0) return null
  return (tokens * (1 - deltasOfFirstRead / deltas)) / (milliseconds / 1000)
}

/**
 * Sends `body`, with streaming and usage switched on, and reads the reply.
 *
 * @throws CommandError if the server cannot be reached, refuses or fails; the signal's reason once aborted
 */
export async function ask(
  api: ApiConnection,
  body: Omit<ChatCompletionRequest, 'stream' | 'stream_options'>,
  listener: ReplyListener,
  signal: AbortSignal,
): Promise<Reply> {
  const startedAt = performance.now()
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
  const elapsed = (): number => performance.now() - startedAt
  if (response.body === null) throw apiFailure(response.status, 'the reply has no body', null)
  const pace = new PaceMeter()
  for await (const data of readSse(pace.countReads(response.body))) {
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
      firstToken ??= elapsed()
      pace.recordText(elapsed())
      reply.reasoning += reasoning
      listener.onReasoning?.(reasoning)
    }
    const text = (content ?? '') + (audio?.transcript ?? '')
    if (text !== '') {
      firstToken ??= elapsed()
      pace.recordText(elapsed())
      reply.text += text
      listener.onText?.(text)
    }
    if (audio?.data) {
      const pcm = samples.read(Buffer.from(audio.data, 'base64'))
      if (pcm.length === 0) continue
      firstAudio ??= elapsed()
      count += pcm.length
      listener.onSpeech?.(pcm)
    }
  }
  signal.throwIfAborted()
  return { ...reply, samples: count, times: { firstToken, firstAudio, total: elapsed() }, pace: pace.result }
}

/** Measures a {@link TextPace}. */
class PaceMeter {
  #currentRead = 0
  #lastTextRead = 0
  #reads = 0
  #deltas = 0
  #deltasOfFirstRead = 0
  #first = 0
  #last = 0

  /** Returns a stream of the same bytes that counts the reads. */
  countReads(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const reader = body.getReader()
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const { done, value } = await reader.read()
          if (done) {
            controller.close()
            return
          }
          this.#currentRead += 1
          controller.enqueue(value)
        },
        cancel: (reason) => reader.cancel(reason),
      },
      // Without read-ahead a delta belongs to the latest read.
      { highWaterMark: 0 },
    )
  }

  /** Records a text delta. @param now milliseconds */
  recordText(now: number): void {
    if (this.#currentRead !== this.#lastTextRead) {
      this.#lastTextRead = this.#currentRead
      this.#reads += 1
      if (this.#reads === 1) this.#first = now
      this.#last = now
    }
    this.#deltas += 1
    if (this.#reads === 1) this.#deltasOfFirstRead += 1
  }

  get result(): TextPace {
    return {
      reads: this.#reads,
      deltas: this.#deltas,
      deltasOfFirstRead: this.#deltasOfFirstRead,
      milliseconds: this.#last - this.#first,
    }
  }
}
