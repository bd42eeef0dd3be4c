import type { FileHandle } from 'node:fs/promises'

/** Writes all bytes at the file's position: a single write may accept only some of them, as on a full disk. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done)
    if (bytesWritten === 0) throw new Error('the disk accepts no more bytes')
    done += bytesWritten
  }
}
