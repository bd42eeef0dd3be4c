/**
 * Server-sent events as the chat endpoint frames them: `data: ...` lines and a blank line between events.
 *
 * In: the bytes of a response body. Out: each event's data text, in order. A `data:` event of `[DONE]` ends it.
 * Reference: WHATWG HTML, "Server-sent events", of which only `data` fields are used here.
 */

/** Yields the data of every event. Comments and other fields are skipped; a last event without its blank line counts. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, void> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let buffer = ''
  let data: string[] = []
  try {
    for (;;) {
      const { value, done } = await reader.read()
      buffer += done ? decoder.decode() : decoder.decode(value, { stream: true })
      for (;;) {
        const end = buffer.indexOf('\n')
        if (end < 0) break
        const line = buffer.slice(0, end).replace(/\r$/, '')
        buffer = buffer.slice(end + 1)
        if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''))
        else if (line === '' && data.length > 0) {
          const event = data.join('\n')
          data = []
          if (event === '[DONE]') return
          yield event
        }
      }
      if (done) break
    }
    if (buffer.startsWith('data:')) data.push(buffer.slice(5).trim())
    const event = data.join('\n')
    if (event !== '' && event !== '[DONE]') yield event
  } finally {
    await reader.cancel().catch(() => {})
  }
}
