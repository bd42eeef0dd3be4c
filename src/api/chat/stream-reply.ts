/**
 * A reply as a stream of server-sent events.
 *
 * In: the engine's events after `start`. Out: bytes, made only as fast as the caller reads: the engine is asked for its
 * next event when the last one has been taken. A caller that goes away ends the work.
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
  /** What went wrong, as the wire's error; undefined when the caller is gone and nobody is there to read it. */
  readonly explain: (error: unknown) => ApiError | undefined
  /** Stops the engine. */
  readonly cancel: () => void
  /** Called once, when nothing more will be written. */
  readonly done: () => void
}

export function streamReply(reply: StreamReply): ReadableStream<Uint8Array> {
  const { events, writer, record } = reply
  const encoder = new TextEncoder()
  return new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(encoder.encode(writer.role()))
    },
    async pull(controller) {
      try {
        // Some events make no bytes yet; the stream must be given some before this returns.
        for (;;) {
          const next = await events.next()
          if (next.done === true) throw new Error('the engine ended without an end event')
          const text = write(next.value, reply)
          if (text !== '') controller.enqueue(encoder.encode(text))
          if (next.value.type === 'end') {
            controller.close()
            reply.done()
            return
          }
          if (text !== '') return
        }
      } catch (error) {
        const explained = reply.explain(error)
        if (explained === undefined) {
          record.finish('cancelled', undefined)
        } else {
          record.finish('error', undefined, explained)
          controller.enqueue(encoder.encode(ChunkWriter.error(explained.toBody(reply.requestId))))
        }
        controller.close()
        reply.cancel()
        reply.done()
      }
    },
    async cancel() {
      record.finish('cancelled', undefined)
      reply.cancel()
      try {
        await events.return?.()
      } catch {
        // The work was being ended anyway.
      }
      reply.done()
    },
  })
}

function write(event: EngineEvent, { writer, record, includeUsage }: StreamReply): string {
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
