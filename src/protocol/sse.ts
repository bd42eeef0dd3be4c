/**
 * Server-sent events as the compatible mode frames them: `data: {json}` and an empty line, ended by `data: [DONE]`.
 * Used by the server to write, and by the playground, the command line and tests to read. Runs in browsers.
 */

import { createParser } from 'eventsource-parser'

export const DONE = '[DONE]'

/** One event of JSON. */
export function sseEvent(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`
}

/** A comment that keeps a connection alive. Readers of events ignore it. */
export const SSE_COMMENT = ': keep-alive\n\n'

export const SSE_DONE = `data: ${DONE}\n\n`

/**
 * Reads the `data` of every event, wherever the network splits the bytes; comments and other fields are skipped.
 * Ends with the stream; `[DONE]` is yielded as it is. Returning early cancels the stream.
 */
export async function* readSse(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const reader = stream.getReader()
  const decoder = new TextDecoder()
  const events: string[] = []
  const parser = createParser({ onEvent: ({ data }) => void events.push(data) })
  let finished = false
  try {
    while (!finished) {
      const { done, value } = await reader.read()
      finished = done
      // A last event without its blank line counts.
      parser.feed(done ? `${decoder.decode()}\n\n` : decoder.decode(value, { stream: true }))
      yield* events.splice(0)
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
