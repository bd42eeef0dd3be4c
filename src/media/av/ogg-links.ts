/**
 * Finds the links of a chained Ogg file: complete streams in sequence, each with its own headers. Pure.
 *
 * FFmpeg reads a chain as one stream and stops where the sample rate, channels or codec change. Each link is therefore
 * opened separately.
 *
 * Reference: RFC 3533, section 6 (page structure) and section 4 (chaining).
 */
import type { ByteSource } from './bytes.ts'

/** Flag of a page's header type. */
const beginsStream = 2

interface Page {
  readonly start: number
  readonly end: number
  readonly begins: boolean
}

/** Start and end of each link, in bytes. A file that is not chained is a single link. */
export function oggLinks(bytes: ByteSource): { start: number; end: number }[] {
  const starts: number[] = []
  let inHeaders = false
  for (const { start, begins } of pages(bytes)) {
    if (begins && !inHeaders) starts.push(start)
    inHeaders = begins
  }
  if (starts.length === 0) return [{ start: 0, end: bytes.size }]
  starts[0] = 0
  return starts.map((start, i) => ({ start, end: starts[i + 1] ?? bytes.size }))
}

/** Where the last page ends according to its header, in bytes. */
export function lastPageEnd(bytes: ByteSource): number | undefined {
  let end: number | undefined
  for (const page of pages(bytes)) end = page.end
  return end
}

function* pages(bytes: ByteSource): Generator<Page> {
  let offset = 0
  while (offset + 27 <= bytes.size) {
    const head = bytes.read(offset, 27 + 255)
    if (head.readUInt32BE(0) !== 0x4f676753) {
      const next = nextPage(bytes, offset + 1)
      if (next === undefined) return
      offset = next
      continue
    }
    const segments = head.subarray(27, 27 + head[26]!)
    const size = 27 + head[26]! + segments.reduce((sum, length) => sum + length, 0)
    yield { start: offset, end: offset + size, begins: (head[5]! & beginsStream) !== 0 }
    offset += size
  }
}

function nextPage(bytes: ByteSource, from: number): number | undefined {
  for (let offset = from; offset + 4 <= bytes.size; offset += 4096 - 3) {
    const found = bytes.read(offset, 4096).indexOf('OggS', 0, 'latin1')
    if (found >= 0) return offset + found
  }
  return undefined
}
