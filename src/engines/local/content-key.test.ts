import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { StoredTensor } from '../../weights/index.ts'
import { contentKey } from './content-key.ts'

it('changes when a shard is overwritten in place, and only then', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'omniserve-key-'))
  try {
    const files = ['one', 'two'].map((name) => join(folder, name))
    for (const file of files) await writeFile(file, 'weights')
    const tensors = new Map<string, StoredTensor>(
      files.map((file) => [file, { name: file, shape: [1], type: 'f32', file, offset: 0, length: 4 }]),
    )
    const key = await contentKey({ tensors })
    expect(await contentKey({ tensors })).toBe(key)
    await writeFile(files[1]!, 'WEIGHTS')
    await utimes(files[1]!, new Date(), new Date(Date.now() + 5000))
    expect(await contentKey({ tensors })).not.toBe(key)
  } finally {
    await rm(folder, { recursive: true })
  }
})
