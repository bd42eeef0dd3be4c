/**
 * A reply as a stream of server-sent events, written directly to the caller's connection.
 *
 * In: the engine's events after `start`. Out: bytes, made only as fast as the caller reads: while the connection is
 * full, no event is taken from the engine. A caller that disconnects, or stops reading for too long, ends the work; so
 * does the request's signal, whether or not anything is read.
 */
import type { ServerResponse } from 'node:http'
import type { EngineEvent } from '../../contract/index.ts'
import { type ApiError, SSE_COMMENT } from '../../protocol/index.ts'
import { ChunkWriter } from './chunk-writer.ts'
import type { ReplyRecord } from './reply-record.ts'

export interface StreamReply {
  readonly events: AsyncIterator<EngineEvent>
  readonly writer: ChunkWriter
  readonly record: ReplyRecord
  readonly requestId: string
  readonly includeUsage: boolean
  /** The text of a spoken reply, once it is complete. */
  readonly spoken: (text: string) => void
  /** Aborted when the work is to end early. */
  readonly signal: AbortSignal
  /** The longest a caller may go without reading, milliseconds; 0 is no limit. */
  readonly stallMs: number
  /**
   * Milliseconds without data after which a comment is sent, so that proxies do not close the connection. 0: none.
   */
  readonly keepAliveMs: number
  /** The error as the wire's; undefined when the caller has disconnected. */
  readonly explain: (error: unknown) => ApiError | undefined
  /** Stops the engine. */
  readonly cancel: () => void
  /** Called once, after the last output. */
  readonly done: () => void
}

/** Writes the reply to `outgoing`, whose head is written. Resolves once the engine has ended it. It never rejects. */
export function streamReply(reply: StreamReply, outgoing: ServerResponse): Promise<void> {
  return new ReplyStream(reply, outgoing).run()
}

class ReplyStream {
  readonly #reply: StreamReply
  readonly #outgoing: ServerResponse
  #ended = false
  #text = ''

  constructor(reply: StreamReply, outgoing: ServerResponse) {
    this.#reply = reply
    this.#outgoing = outgoing
  }

  async run(): Promise<void> {
    const { events, writer, signal } = this.#reply
    const outgoing = this.#outgoing
    const onClose = (): void => this.#left()
    outgoing.once('close', onClose)
    const keepAlive = this.#keepAlive()
    try {
      if (outgoing.destroyed) this.#left()
      else outgoing.write(writer.role())
      while (!this.#ended) {
        if (outgoing.writableNeedDrain) await this.#drained()
        signal.throwIfAborted()
        const next = await events.next()
        if (this.#ended) break
        if (next.done === true) throw new Error('the engine ended without an end event')
        const text = this.#textOf(next.value)
        if (next.value.type === 'end') this.#end(text)
        else if (text !== '') {
          outgoing.write(text)
          keepAlive?.refresh()
        }
      }
    } catch (error) {
      this.#fail(error)
    } finally {
      outgoing.off('close', onClose)
      clearInterval(keepAlive)
    }
    try {
      // The engine releases the request only when the iterator is closed, even after its last event.
      await events.return?.()
    } catch {
      // The work is being ended anyway.
    }
  }

  #keepAlive(): NodeJS.Timeout | undefined {
    const { keepAliveMs } = this.#reply
    if (keepAliveMs === 0) return undefined
    const timer = setInterval(() => {
      if (!this.#ended && !this.#outgoing.writableNeedDrain) this.#outgoing.write(SSE_COMMENT)
    }, keepAliveMs)
    return timer.unref()
  }

  /** Waits until the caller has read, or has gone: the loop checks the signal and the connection afterwards. */
  #drained(): Promise<void> {
    const { signal, stallMs } = this.#reply
    const outgoing = this.#outgoing
    return new Promise((resolve) => {
      const timer = stallMs === 0 ? undefined : setTimeout(() => outgoing.destroy(), stallMs)
      timer?.unref()
      const go = (): void => {
        clearTimeout(timer)
        outgoing.off('drain', go)
        outgoing.off('close', go)
        signal.removeEventListener('abort', go)
        resolve()
      }
      outgoing.once('drain', go)
      outgoing.once('close', go)
      signal.addEventListener('abort', go, { once: true })
      if (signal.aborted || outgoing.destroyed) go()
    })
  }

  /** The connection was closed before the reply was whole. */
  #left(): void {
    if (this.#ended) return
    this.#ended = true
    this.#reply.record.finish('cancelled')
    this.#reply.cancel()
    this.#reply.done()
  }

  /** Ends the stream with the error, if the connection is still open. */
  #fail(error: unknown): void {
    if (this.#ended) return
    const { record, requestId, explain, cancel } = this.#reply
    const explained = explain(error)
    if (explained === undefined) record.finish('cancelled')
    else record.finish('error', undefined, explained)
    this.#end(explained === undefined ? '' : ChunkWriter.error(explained.toBody(requestId)))
    cancel()
  }

  /** Writes the last bytes, with a time limit for callers that do not read them. */
  #end(text: string): void {
    this.#ended = true
    const outgoing = this.#outgoing
    const { stallMs, done } = this.#reply
    outgoing.end(text)
    if (stallMs > 0 && !outgoing.writableFinished) {
      const timer = setTimeout(() => outgoing.destroy(), stallMs)
      timer.unref()
      outgoing.once('close', () => clearTimeout(timer))
      outgoing.once('finish', () => clearTimeout(timer))
    }
    done()
  }

  #textOf(event: EngineEvent): string {
    const { writer, record, includeUsage } = this.#reply
    switch (event.type) {
      case 'start':
        return ''
      case 'reasoning-delta':
        record.text(event.counts)
        return writer.reasoning(event.text)
      case 'text-delta':
        record.text(event.counts)
        this.#text += event.text
        return writer.text(event.text)
      case 'tool-call-delta':
        record.text(event.counts)
        return writer.toolCall(event)
      case 'audio-delta':
        record.audio(event.pcm.length, event.counts)
        return writer.audio(event.pcm)
      case 'end': {
        if (writer.samples > 0) this.#reply.spoken(this.#text)
        const usage = record.usage(event.usage)
        record.finish(event.reason, usage)
        return writer.end(event.reason, includeUsage ? usage : undefined)
      }
      default:
        return event satisfies never
    }
  }
}
