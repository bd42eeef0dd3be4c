/**
 * A file's bytes at any position, in memory or on disk, whole or a part of it.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { AVSEEK_CUR, AVSEEK_END, AVSEEK_SIZE } from 'node-av/constants'
import type { SpooledBytes } from '../fetch/spool.ts'

/** Most bytes FFmpeg asks for at once. */
export const ioBufferBytes = 64 * 1024

export interface ByteSource extends Disposable {
  readonly size: number
  /** At most `length` bytes from `position`; fewer only at the end. The next call may overwrite them. */
  readonly at: (position: number, length: number) => Buffer
}

export function openBytes(source: SpooledBytes): ByteSource {
  if ('memory' in source) {
    const { buffer, byteOffset, byteLength } = source.memory
    const bytes = Buffer.from(buffer, byteOffset, byteLength)
    return {
      size: byteLength,
      at: (position, length) => bytes.subarray(position, position + length),
      [Symbol.dispose]: () => {},
    }
  }
  const fd = openSync(source.path, 'r')
  const { size } = fstatSync(fd)
  const target = Buffer.allocUnsafe(ioBufferBytes)
  return {
    size,
    at: (position, length) => {
      const wanted = Math.max(0, Math.min(length, size - position))
      const into = wanted <= target.length ? target : Buffer.allocUnsafe(wanted)
      let filled = 0
      while (filled < wanted) {
        const read = readSync(fd, into, filled, wanted - filled, position + filled)
        if (read === 0) break
        filled += read
      }
      return into.subarray(0, filled)
    },
    [Symbol.dispose]: () => closeSync(fd),
  }
}

/** Bytes `start` to `end` of `whole`, which the caller closes. */
export function partOf(whole: ByteSource, start: number, end: number): ByteSource {
  return {
    size: end - start,
    at: (position, length) => whole.at(start + position, Math.max(0, Math.min(length, end - start - position))),
    [Symbol.dispose]: () => {},
  }
}

/** The same bytes but for those at `position`, as many as `patch` has. */
export function patched(whole: ByteSource, patches: readonly { position: number; bytes: Buffer }[]): ByteSource {
  return {
    size: whole.size,
    at: (position, length) => {
      const bytes = whole.at(position, length)
      const touched = patches.filter(
        (patch) => patch.position < position + bytes.length && patch.position + patch.bytes.length > position,
      )
      if (touched.length === 0) return bytes
      const own = Buffer.from(bytes)
      for (const patch of touched) {
        const from = Math.max(0, position - patch.position)
        patch.bytes.copy(own, Math.max(0, patch.position - position), from)
      }
      return own
    },
    [Symbol.dispose]: () => {},
  }
}

/** FFmpeg's two callbacks over a source. */
export function seekable({ size, at }: ByteSource): {
  readonly read: (size: number) => Buffer | null
  readonly seek: (offset: bigint, whence: number) => bigint
} {
  let position = 0
  return {
    read: (wanted) => {
      const bytes = at(position, Math.min(wanted, size - position))
      if (bytes.length === 0) return null
      position += bytes.length
      return bytes
    },
    seek: (offset, whence) => {
      if ((whence & AVSEEK_SIZE) !== 0) return BigInt(size)
      const base = whence === AVSEEK_CUR ? position : whence === AVSEEK_END ? size : 0
      const next = base + Number(offset)
      if (next < 0 || next > size) return -1n
      position = next
      return BigInt(position)
    },
  }
}
