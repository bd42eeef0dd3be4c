import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { writeAll } from './write-all.ts'

type Write = Pick<FileHandle, 'write'>

/** A file that accepts at most `most` bytes in one write. */
async function written(most: number, run: (handle: Write) => Promise<void>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'write-all-'))
  try {
    const path = join(folder, 'file')
    await using file = await open(path, 'w+')
    const slow = {
      write: (bytes: Uint8Array, from: number, length: number, position: number | null) =>
        file.write(bytes, from, Math.min(most, length), position),
    } as Write
    await run(slow)
    return await readFile(path, 'utf8')
  } finally {
    await rm(folder, { recursive: true })
  }
}

it('writes all bytes at the position or at an offset, however few a write accepts', async () => {
  const text = await written(3, async (file) => {
    await writeAll(file, Buffer.from('0123456789'))
    await writeAll(file, Buffer.from('abcdefgh'))
    await writeAll(file, Buffer.from('WXYZ'), 8)
  })
  expect(text).toBe('01234567WXYZcdefgh')
})

it('fails when the disk accepts no bytes, with and without an offset', async () => {
  await written(0, async (file) => {
    await expect(writeAll(file, Buffer.from('a'))).rejects.toThrow('the disk accepts no more bytes')
    await expect(writeAll(file, Buffer.from('a'), 5)).rejects.toThrow('the disk accepts no more bytes')
    await writeAll(file, new Uint8Array(0))
  })
})
