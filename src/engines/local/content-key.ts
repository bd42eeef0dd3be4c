/**
 * A key that identifies a checkpoint's weights, for caches derived from them.
 *
 * In: an opened checkpoint. Out: 16 hexadecimal digits that change when a weight file is replaced or rewritten. Files
 * are compared by size, time and inode, because a folder's time does not change when a file is overwritten in place.
 */

import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import type { Checkpoint } from '../../weights/index.ts'

export async function contentKey(checkpoint: Pick<Checkpoint, 'tensors'>): Promise<string> {
  const files = [...new Set(Array.from(checkpoint.tensors.values(), ({ file }) => file))].toSorted()
  const facts = await Promise.all(
    files.map(async (file) => {
      const { size, mtimeMs, ino } = await stat(file)
      return [file, size, mtimeMs, ino]
    }),
  )
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16)
}
