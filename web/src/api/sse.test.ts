import { describe, expect, it } from 'vitest'
import { readEvents } from './sse.ts'

function body(...pieces: (string | Uint8Array)[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(typeof piece === 'string' ? encoder.encode(piece) : piece)
      controller.close()
    },
  })
}

async function events(...pieces: (string | Uint8Array)[]): Promise<string[]> {
  const found: string[] = []
  for await (const event of readEvents(body(...pieces))) found.push(event)
  return found
}

describe('readEvents', () => {
  it('joins what the network cut anywhere, even inside a character', async () => {
    const bytes = new TextEncoder().encode('data: {"a":"你好"}\n\ndata: 2\r\n\r\ndata: [DONE]\n\ndata: after\n\n')
    for (let cut = 1; cut < bytes.length; cut++)
      // oxlint-disable-next-line no-await-in-loop
      expect(await events(bytes.subarray(0, cut), bytes.subarray(cut))).toEqual(['{"a":"你好"}', '2'])
  })

  it('skips comments and other fields, and takes a last event that was not closed', async () => {
    expect(await events(': hello\nid: 1\nevent: result\ndata: 1\n\n', 'data:2')).toEqual(['1', '2'])
    expect(await events('data: a\ndata: b\n\n')).toEqual(['a\nb'])
    expect(await events('')).toEqual([])
  })
})
