/**
 * How this machine would hold a checkpoint's weights, decided before they are loaded: for loading, for `doctor`, for
 * benchmarks.
 *
 * In: an open device and checkpoint, and what is asked for. Out: a `Placement`, and the types and cache that loading
 * takes with it.
 */

import type { ModelDescription } from '../../models/index.ts'
import type { Backend, RepackCacheOptions } from '../../tensor/index.ts'
import {
  type Checkpoint,
  checkpointMemory,
  type Placement,
  placementFacts,
  placeWeights,
  type WeightTypeChoice,
} from '../../weights/index.ts'
import { contentKey } from './content-key.ts'
import type { LoadOptions } from './messages.ts'

/** Memory besides the weights that a model needs at least: intermediate results and a short conversation's caches. */
export const workingBytes = 256e6
/** Weights below this are read faster than threads can be brought together for each operation. */
export const smallCheckpoint = 200e6

/** What of the load options decides about weights. */
export type PlacementOptions = Pick<LoadOptions, 'types' | 'exact' | 'repack' | 'cacheDirectory' | 'keepFree'>

export interface LoadedTypes {
  readonly types?: WeightTypeChoice
  /** Bytes of the weights in these types, not repacked. */
  readonly bytes: number
}

/** The types that a checkpoint's weights are loaded in. */
export function loadedTypes(
  checkpoint: Checkpoint,
  { declarations, naming }: Pick<ModelDescription, 'declarations' | 'naming'>,
  options: PlacementOptions,
): LoadedTypes {
  // References compute in f32 whatever the checkpoint stores, and so do small models.
  const whole = options.exact === true || (options.types === undefined && isSlowAsStored(checkpoint))
  const choice = options.types ?? (whole ? ({ type: 'f32' } as const) : undefined)
  const types = choice && { types: choice }
  return { ...types, bytes: checkpointMemory(checkpoint, declarations, { ...types, naming }).weights }
}

export interface ChosenPlacement extends Placement {
  /** Where repacked weights are mapped from or written to, in a placement that does. */
  readonly cache?: RepackCacheOptions
}

/** @throws EngineError `bad_checkpoint` when the checkpoint's weights are not those of its architecture. */
export async function choosePlacement(
  backend: Backend,
  checkpoint: Checkpoint,
  { declarations, naming }: Pick<ModelDescription, 'declarations' | 'naming'>,
  options: PlacementOptions & { readonly types?: WeightTypeChoice },
): Promise<ChosenPlacement> {
  const cache = options.cacheDirectory && {
    cache: { directory: options.cacheDirectory, key: await contentKey(checkpoint) },
  }
  const placement = placeWeights(
    await placementFacts(backend, checkpoint, declarations, {
      ...(options.types && { types: options.types }),
      naming,
      ...cache,
      repack: options.exact !== true && options.repack !== false,
      working: workingBytes,
      available: availableFor(backend, options),
    }),
  )
  const keeps = placement.kind === 'repacked-kept' || placement.kind === 'repacked-now'
  return { ...placement, ...(keeps && cache) }
}

/** Bytes of memory that loading may take. */
export function availableFor(backend: Backend, { keepFree = 0 }: PlacementOptions): number {
  return backend.availableMemory() - (backend.kind === 'cpu' ? keepFree : 0)
}

/**
 * Small folders in bf16 are widened to f32: no value changes, products of narrow matrices are quicker and finer,
 * because bf16 products round the other factor to bf16 too. Large ones stay as stored, because there memory decides.
 */
function isSlowAsStored(checkpoint: Checkpoint): boolean {
  if (checkpoint.kind !== 'folder') return false
  let bytes = 0
  let narrow = false
  for (const { type, length } of checkpoint.tensors.values()) {
    bytes += length
    narrow ||= type === 'bf16'
  }
  return narrow && bytes < smallCheckpoint
}
