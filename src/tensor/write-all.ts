import type { FileHandle } from 'node:fs/promises'

/**
 * Writes all bytes at an offset of the file, or without one at the file's current position. A single write may accept
 * only some of them, as on a full disk. @throws Error if the disk accepts none
 */
export async function writeAll(handle: Pick<FileHandle, 'write'>, bytes: Uint8Array, at?: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const position = at === undefined ? null : at + done
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position)
    if (bytesWritten === 0) throw new Error('the disk accepts no more bytes')
    done += bytesWritten
  }
}
