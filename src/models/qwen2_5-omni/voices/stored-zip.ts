/**
 * Entries of an uncompressed zip archive, as `torch.save` writes them.
 *
 * In: the archive's bytes. Out: name to content. Strict: compressed or encrypted entries, entries that overlap the
 * directory or run past the end, repeated names and wrong checksums are errors. Reference: PKWARE APPNOTE 6.3.10,
 * sections 4.3 and 4.4.
 */

import { crc32 } from 'node:zlib'

const END = 0x06054b50
const ENTRY = 0x02014b50
const LOCAL = 0x04034b50
const END_SIZE = 22
const LONGEST_COMMENT = 0xffff
const MOST_ENTRIES = 10_000

/** Reads the entries, as views of `bytes`. Throws an Error that names the fault. */
export function readStoredZip(bytes: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = findEnd(view)
  const count = view.getUint16(end + 10, true)
  const directory = view.getUint32(end + 16, true)
  if (count > MOST_ENTRIES) throw new Error(`its zip directory claims ${count} entries`)
  if (directory + view.getUint32(end + 12, true) > end) throw new Error('its zip directory runs past its end')
  const entries = new Map<string, Uint8Array>()
  let at = directory
  for (let i = 0; i < count; i++) {
    if (at + 46 > end || view.getUint32(at, true) !== ENTRY) throw new Error('its zip directory is cut off')
    const flags = view.getUint16(at + 8, true)
    const method = view.getUint16(at + 10, true)
    const checksum = view.getUint32(at + 16, true)
    const size = view.getUint32(at + 24, true)
    const nameLength = view.getUint16(at + 28, true)
    const next = at + 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true)
    if (next > end) throw new Error('its zip directory is cut off')
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength))
    if ((flags & 1) !== 0) throw new Error(`entry ${name} is encrypted`)
    if (method !== 0 || view.getUint32(at + 20, true) !== size) throw new Error(`entry ${name} is compressed`)
    if (entries.has(name)) throw new Error(`entry ${name} occurs twice`)
    const content = contentOf(bytes, view, { name, local: view.getUint32(at + 42, true), size, limit: directory })
    if (crc32(content) !== checksum) throw new Error(`entry ${name} does not match its checksum`)
    entries.set(name, content)
    at = next
  }
  return entries
}

function findEnd(view: DataView): number {
  const first = Math.max(0, view.byteLength - END_SIZE - LONGEST_COMMENT)
  for (let at = view.byteLength - END_SIZE; at >= first; at--) if (view.getUint32(at, true) === END) return at
  throw new Error('it has no zip directory: it is cut off')
}

function contentOf(
  bytes: Uint8Array,
  view: DataView,
  { name, local, size, limit }: { name: string; local: number; size: number; limit: number },
): Uint8Array {
  if (local + 30 > limit || view.getUint32(local, true) !== LOCAL) throw new Error(`entry ${name} is not where it should be`)
  const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true)
  if (start + size > limit) throw new Error(`entry ${name} runs past the end`)
  return bytes.subarray(start, start + size)
}
