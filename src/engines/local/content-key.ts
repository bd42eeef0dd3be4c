/**
 * A key of a checkpoint's weights, for caches made from them.
 *
 * In: an opened checkpoint. Out: a short text that changes when a file of its weights is replaced or rewritten: a
 * folder's own times do not change when a file is overwritten in place.
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
