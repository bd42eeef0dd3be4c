import { expect, it } from 'vitest'
import { fc } from '../../testing/property.ts'
import { DONE, readSse, SSE_COMMENT, SSE_DONE, sseEvent } from './sse.ts'

/** The bytes split anywhere, also inside a character or a line end. */
function cut(bytes: Uint8Array, cuts: readonly number[]): ReadableStream<Uint8Array> {
  const places = [...new Set(cuts.map((at) => at % (bytes.length + 1)))].toSorted((a, b) => a - b)
  const edges = [0, ...places, bytes.length]
  return new ReadableStream({
    start(controller) {
      for (const [i, end] of edges.slice(1).entries()) controller.enqueue(bytes.subarray(edges[i], end))
      controller.close()
    },
  })
}

const text = fc.string({ unit: 'binary', maxLength: 40 })
const cuts = fc.array(fc.nat(), { maxLength: 30 })

it('reads the events that were written, wherever the bytes are cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(text, fc.jsonValue())),
      fc.array(fc.boolean()),
      cuts,
      async (values, quiet, at) => {
        const written = values.map((value, i) => (quiet[i] === true ? SSE_COMMENT : '') + sseEvent(value)).join('')
        const read: string[] = []
        for await (const data of readSse(cut(new TextEncoder().encode(written + SSE_DONE), at))) read.push(data)
        // A lone surrogate is written as an escape, so JSON comes back as it was.
        expect(read).toEqual([...values.map((value) => JSON.stringify(value)), DONE])
      },
    ),
  )
})

it('reads events of other writers: any line ends, fields and comments between', async () => {
  const line = fc.stringMatching(/^[^\r\n\0\uD800-\uDFFF\uFEFF]{1,20}$/)
  const ends = fc.constantFrom('\n', '\r\n', '\r')
  const other = fc.constantFrom('event: x', 'id: 1', 'retry: 10', ': note', 'unknown: y')
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(line, fc.option(other))), ends, cuts, async (events, end, at) => {
      const written = events.map(([data, extra]) =>
        [...(extra === null ? [] : [extra]), `data: ${data}`, '', ''].join(end),
      )
      const read: string[] = []
      for await (const data of readSse(cut(new TextEncoder().encode(written.join('')), at))) read.push(data)
      expect(read).toEqual(events.map(([data]) => data))
    }),
  )
})
