/** Server-sent events as the chat endpoint frames them: each event's data text, in order, until `[DONE]`. */

import { DONE, readSse } from '../../../src/protocol/sse.ts'

/** Yields the data of every event before `[DONE]`. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, void> {
  for await (const data of readSse(body)) {
    if (data === DONE) return
    yield data
  }
}
