/** A disk that accepts a part of the data at each write, as POSIX allows. */
import { type FileHandle, open } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { vi } from 'vitest'

/** Runs `work` while every positional or appending write of a Buffer accepts only a part of it. */
export async function withShortWrites<T>(work: () => Promise<T>): Promise<T> {
  const handle = await open(fileURLToPath(import.meta.url))
  const prototype = Object.getPrototypeOf(handle) as FileHandle
  await handle.close()
  const write: unknown = Reflect.get(prototype, 'write')
  if (typeof write !== 'function') throw new Error('file handles write in another way now')
  const spy = vi.spyOn(prototype, 'write').mockImplementation(function (this: FileHandle, ...given: unknown[]) {
    const [bytes, offset = 0, length = (bytes as Uint8Array).length - Number(offset), position] = given
    return Reflect.apply(write, this, [bytes, offset, Math.ceil(Number(length) / 3), position]) as unknown
  } as never)
  try {
    const result = await work()
    if (spy.mock.calls.length === 0) throw new Error('nothing was written')
    return result
  } finally {
    spy.mockRestore()
  }
}
