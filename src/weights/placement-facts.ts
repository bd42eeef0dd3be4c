/**
 * Collects the facts on which {@link placeWeights} decides: the checkpoint's bytes, the processor's kernels, memory and
 * disk.
 *
 * In: an opened checkpoint and its device. Out: {@link PlacementFacts}. Reads no weights.
 */

import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'

import type { ParameterDeclaration } from '../nn/parameters.ts'
import { type Backend, canMapFiles, planWeights, type RepackCacheOptions, tensorBytes } from '../tensor/index.ts'
import type { Checkpoint } from './checkpoint.ts'
import { loadedType } from './load-parameters.ts'
import { type CheckpointNaming, matchParameters } from './match-parameters.ts'
import type { PlacementFacts } from './placement.ts'
import type { WeightTypeChoice } from './weight-types.ts'

export interface PlacementFactsOptions {
  readonly types?: WeightTypeChoice
  readonly naming?: CheckpointNaming
  /** Cache of repacked weights. */
  readonly cache?: RepackCacheOptions
  /** Whether repacking is enabled. */
  readonly repack: boolean
  /** Bytes for caches and intermediate results. */
  readonly working: number
  /** Bytes of memory available to this process. */
  readonly available: number
}

/** Rejects as `matchParameters` throws. */
export async function placementFacts(
  backend: Backend,
  checkpoint: Checkpoint,
  declarations: readonly ParameterDeclaration[],
  { types, naming, cache, ...limits }: PlacementFactsOptions,
): Promise<PlacementFacts> {
  const { sources } = matchParameters(checkpoint, declarations, naming)
  const weights = sources.map((source) => {
    const { name, shape, use } = source.declaration
    return { name, shape, use, type: loadedType(source, checkpoint, types) }
  })
  const { cached, ...bytes } = await planWeights(backend, weights, cache)
  const unquantised = weights
    .filter(({ use, type }) => use !== 'other' && (type === 'f32' || type === 'f16' || type === 'bf16'))
    .reduce((sum, { type, shape }) => sum + tensorBytes(type, shape), 0)
  const free = cache && canMapFiles() ? await freeDisk(cache.directory) : undefined
  return {
    ...bytes,
    unquantised,
    ...limits,
    ...(cache && free !== undefined && { cache: { directory: cache.directory, exists: cached, free } }),
  }
}

/** Free bytes of the disk of a folder, which may not exist yet; undefined when unknown. */
async function freeDisk(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  } catch {
    const parent = dirname(folder)
    return parent === folder ? undefined : freeDisk(parent)
  }
}
