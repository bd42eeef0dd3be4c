/**
 * What {@link placeWeights} decides by, looked up on this machine: the checkpoint's bytes, the processor's kernels,
 * memory and disk.
 *
 * In: an opened checkpoint and the device it is to run on. Out: {@link PlacementFacts}. Reads no weights.
 */

import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'

import type { ParameterDeclaration } from '../nn/parameters.ts'
import { type Backend, canMapOver, planWeights, type RepackCacheOptions, tensorBytes } from '../tensor/index.ts'
import type { Checkpoint } from './checkpoint.ts'
import { loadedType } from './load-parameters.ts'
import { type CheckpointNaming, matchParameters } from './match-parameters.ts'
import type { PlacementFacts } from './placement.ts'
import type { WeightTypeChoice } from './weight-types.ts'

export interface PlacementFactsOptions {
  readonly types?: WeightTypeChoice
  readonly naming?: CheckpointNaming
  /** Folder for the cache file of repacked weights. */
  readonly cache?: RepackCacheOptions
  readonly repack: boolean
  readonly working: number
  readonly available: number
}

/** Throws as `matchParameters` does. */
export async function placementFacts(
  backend: Backend,
  checkpoint: Checkpoint,
  declarations: readonly ParameterDeclaration[],
  { types, naming, cache, ...given }: PlacementFactsOptions,
): Promise<PlacementFacts> {
  const { recipes } = matchParameters(checkpoint, declarations, naming)
  const weights = recipes.map((recipe) => {
    const { name, shape, use } = recipe.declaration
    return { name, shape, use, type: loadedType(recipe, checkpoint, types) }
  })
  const { kept, ...bytes } = await planWeights(backend, weights, cache)
  const wide = weights
    .filter(({ use, type }) => use !== 'other' && (type === 'f32' || type === 'f16' || type === 'bf16'))
    .reduce((sum, { type, shape }) => sum + tensorBytes(type, shape), 0)
  const free = cache && canMapOver() ? await freeDisk(cache.directory) : undefined
  return {
    ...bytes,
    wide,
    ...given,
    ...(cache && free !== undefined && { cache: { directory: cache.directory, kept, free } }),
  }
}

/** Of the disk that a folder is on, or will be; undefined when it is not known. */
async function freeDisk(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  } catch {
    const parent = dirname(folder)
    return parent === folder ? undefined : freeDisk(parent)
  }
}
