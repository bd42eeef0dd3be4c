/**
 * Random access to a file's bytes, in memory or on disk.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { AVSEEK_CUR, AVSEEK_END, AVSEEK_SIZE } from 'node-av/constants'
import type { SpooledBytes } from '../fetch/spool.ts'

/** Size of FFmpeg's read buffer: the largest read it requests. */
export const ioBufferBytes = 64 * 1024

export interface ByteSource extends Disposable {
  readonly size: number
  /** Returns at most `length` bytes from `position`; fewer only at the end. The next call may overwrite them. */
  readonly read: (position: number, length: number) => Buffer
}

export function openByteSource(source: SpooledBytes): ByteSource {
  if ('memory' in source) {
    const { buffer, byteOffset, byteLength } = source.memory
    const bytes = Buffer.from(buffer, byteOffset, byteLength)
    return {
      size: byteLength,
      read: (position, length) => bytes.subarray(position, position + length),
      [Symbol.dispose]: () => {},
    }
  }
  const fd = openSync(source.path, 'r')
  const { size } = fstatSync(fd)
  const buffer = Buffer.allocUnsafe(ioBufferBytes)
  return {
    size,
    read: (position, length) => {
      const wanted = Math.max(0, Math.min(length, size - position))
      const target = wanted <= buffer.length ? buffer : Buffer.allocUnsafe(wanted)
      let filled = 0
      while (filled < wanted) {
        const count = readSync(fd, target, filled, wanted - filled, position + filled)
        if (count === 0) break
        filled += count
      }
      return target.subarray(0, filled)
    },
    [Symbol.dispose]: () => closeSync(fd),
  }
}

/** Bytes `start` (included) to `end` (excluded) of `whole`, which stays owned by the caller. */
export function sliceBytes(whole: ByteSource, start: number, end: number): ByteSource {
  return {
    size: end - start,
    read: (position, length) => whole.read(start + position, Math.max(0, Math.min(length, end - start - position))),
    [Symbol.dispose]: () => {},
  }
}

/** `whole` with the bytes of each patch in place of its own; the caller keeps owning `whole`. */
export function patchBytes(whole: ByteSource, patches: readonly { position: number; bytes: Buffer }[]): ByteSource {
  return {
    size: whole.size,
    read: (position, length) => {
      const bytes = whole.read(position, length)
      const overlapping = patches.filter(
        (patch) => patch.position < position + bytes.length && patch.position + patch.bytes.length > position,
      )
      if (overlapping.length === 0) return bytes
      const copy = Buffer.from(bytes)
      for (const patch of overlapping) {
        const from = Math.max(0, position - patch.position)
        patch.bytes.copy(copy, Math.max(0, patch.position - position), from)
      }
      return copy
    },
    [Symbol.dispose]: () => {},
  }
}

/** The read and seek callbacks of an FFmpeg I/O context. */
export function ioCallbacks(source: ByteSource): {
  readonly read: (size: number) => Buffer | null
  readonly seek: (offset: bigint, whence: number) => bigint
} {
  const { size } = source
  let position = 0
  return {
    read: (wanted) => {
      const bytes = source.read(position, Math.min(wanted, size - position))
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
