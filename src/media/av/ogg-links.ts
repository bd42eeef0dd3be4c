/**
 * The links of a chained Ogg file: whole streams in sequence, each with its own headers. Pure.
 *
 * FFmpeg reads a chain as one stream and stops where rate, channels or codec change, so each link is opened by itself.
 *
 * Reference: RFC 3533, section 6 (page structure) and section 4 (chaining).
 */
import type { ByteSource } from './bytes.ts'

const beginsStream = 2

interface Page {
  readonly start: number
  readonly end: number
  readonly begins: boolean
}

/** Start and end of each link, bytes; a single one for a file that is not chained. */
export function oggLinks(bytes: ByteSource): { start: number; end: number }[] {
  const starts: number[] = []
  let headers = false
  for (const { start, begins } of pages(bytes)) {
    if (begins && !headers) starts.push(start)
    headers = begins
  }
  if (starts.length === 0) return [{ start: 0, end: bytes.size }]
  starts[0] = 0
  return starts.map((start, i) => ({ start, end: starts[i + 1] ?? bytes.size }))
}

/** Where the last page should end, by its own header. */
export function lastPageEnd(bytes: ByteSource): number | undefined {
  let end: number | undefined
  for (const page of pages(bytes)) end = page.end
  return end
}

function* pages(bytes: ByteSource): Generator<Page> {
  let at = 0
  while (at + 27 <= bytes.size) {
    const head = bytes.at(at, 27 + 255)
    if (head.readUInt32BE(0) !== 0x4f676753) {
      const next = nextCapture(bytes, at + 1)
      if (next === undefined) return
      at = next
      continue
    }
    const segments = head.subarray(27, 27 + head[26]!)
    const size = 27 + head[26]! + segments.reduce((sum, length) => sum + length, 0)
    yield { start: at, end: at + size, begins: (head[5]! & beginsStream) !== 0 }
    at += size
  }
}

function nextCapture(bytes: ByteSource, from: number): number | undefined {
  for (let at = from; at + 4 <= bytes.size; at += 4096 - 3) {
    const found = bytes.at(at, 4096).indexOf('OggS', 0, 'latin1')
    if (found >= 0) return at + found
  }
  return undefined
}
