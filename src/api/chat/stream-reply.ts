/**
 * A reply as a stream of server-sent events.
 *
 * In: the engine's events after `start`. Out: bytes, made only as fast as the caller reads: the engine is asked for its
 * next event when the last one has been taken. A caller that goes away, or stops reading for too long, ends the work;
 * so does the request's signal, whether or not anybody is reading.
 */
import type { EngineEvent } from '../../engines/engine.ts'
import type { ApiError } from '../../protocol/index.ts'
import { ChunkWriter } from './chunk-writer.ts'
import type { ReplyRecord } from './reply-record.ts'

export interface StreamReply {
  readonly events: AsyncIterator<EngineEvent>
  readonly writer: ChunkWriter
  readonly record: ReplyRecord
  readonly requestId: string
  readonly includeUsage: boolean
  /** Aborted when the work is to end early. */
  readonly signal: AbortSignal
  /** How long a caller may go without reading, milliseconds; 0 is no limit. */
  readonly stallMs: number
  /** What went wrong, as the wire's error; undefined when the caller is gone and nobody is there to read it. */
  readonly explain: (error: unknown) => ApiError | undefined
  /** Stops the engine. */
  readonly cancel: () => void
  /** Closes the caller's connection, where there is one. */
  readonly cutConnection?: (() => void) | undefined
  /** Called once, when nothing more will be made. */
  readonly done: () => void
}

export function streamReply(reply: StreamReply): ReadableStream<Uint8Array> {
  const source = new ReplySource(reply)
  return new ReadableStream<Uint8Array>(source)
}

class ReplySource {
  readonly #reply: StreamReply
  readonly #encoder = new TextEncoder()
  readonly #onAbort = (): void => this.#aborted()
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #stall: NodeJS.Timeout | undefined
  #pulling = false
  #ended = false

  constructor(reply: StreamReply) {
    this.#reply = reply
  }

  start(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.#controller = controller
    this.#reply.signal.addEventListener('abort', this.#onAbort, { once: true })
    this.#enqueue(this.#reply.writer.role())
    this.#watchReader()
  }

  async pull(): Promise<void> {
    clearTimeout(this.#stall)
    this.#pulling = true
    try {
      // Some events make no bytes yet; the stream must be given some before this returns.
      for (let given = false; !given && !this.#ended;) {
        const next = await this.#reply.events.next()
        if (next.done === true) throw new Error('the engine ended without an end event')
        const text = this.#write(next.value)
        if (text !== '') this.#enqueue(text)
        given = text !== ''
        if (next.value.type === 'end') {
          this.#controller?.close()
          this.#end()
          await this.#leaveEngine()
        }
      }
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#pulling = false
    }
    this.#watchReader()
  }

  /** The connection was closed. */
  async cancel(): Promise<void> {
    if (this.#ended) return
    this.#reply.record.finish('cancelled', undefined)
    this.#reply.cancel()
    await this.#leaveEngine()
    this.#end()
  }

  /** The signal fired. A pull in progress hears it from the engine; without one, nobody else would. */
  #aborted(): void {
    if (this.#pulling || this.#ended) return
    this.#fail(this.#reply.signal.reason)
    void this.#leaveEngine()
  }

  /** Ends the stream with what went wrong, as far as there is someone to tell. */
  #fail(error: unknown): void {
    if (this.#ended) return
    const { record, requestId, explain } = this.#reply
    const explained = explain(error)
    if (explained === undefined) {
      record.finish('cancelled', undefined)
    } else {
      record.finish('error', undefined, explained)
      this.#enqueue(ChunkWriter.error(explained.toBody(requestId)))
    }
    this.#controller?.close()
    this.#end()
    this.#reply.cancel()
  }

  #watchReader(): void {
    if (this.#ended || this.#reply.stallMs === 0) return
    this.#stall = setTimeout(() => {
      this.#reply.record.finish('cancelled', undefined)
      this.#end()
      this.#reply.cancel()
      void this.#leaveEngine()
      if (this.#reply.cutConnection === undefined) this.#controller?.error(new Error('the caller stopped reading'))
      else this.#reply.cutConnection()
    }, this.#reply.stallMs)
    this.#stall.unref()
  }

  /** Lets the engine let go of the request: after its last event too, it waits to be asked for one more. */
  async #leaveEngine(): Promise<void> {
    try {
      await this.#reply.events.return?.()
    } catch {
      // The work was being ended anyway.
    }
  }

  #end(): void {
    this.#ended = true
    clearTimeout(this.#stall)
    this.#reply.signal.removeEventListener('abort', this.#onAbort)
    this.#reply.done()
  }

  #enqueue(text: string): void {
    this.#controller?.enqueue(this.#encoder.encode(text))
  }

  #write(event: EngineEvent): string {
    const { writer, record, includeUsage } = this.#reply
    switch (event.type) {
      case 'start':
        return ''
      case 'reasoning-delta':
        record.text()
        return writer.reasoning(event.text)
      case 'text-delta':
        record.text()
        return writer.text(event.text)
      case 'audio-delta':
        record.audio(event.pcm.length)
        return writer.audio(event.pcm)
      case 'end': {
        const usage = record.usage(event.usage)
        record.finish(event.reason, usage)
        return writer.end(event.reason, includeUsage ? usage : undefined)
      }
      default:
        return event satisfies never
    }
  }
}
