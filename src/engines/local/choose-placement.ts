/**
 * Chooses how a checkpoint's weights are placed in memory, before they are loaded. Also used by `doctor` and
 * benchmarks.
 *
 * In: an open device and checkpoint, and the load options. Out: a `Placement`, with the weight types and the repack
 * cache for loading.
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

/** Least memory that a model needs besides its weights: intermediate results and the caches of a short conversation. */
export const workingBytes = 256e6
/** Below this size, synchronizing threads for each operation costs more than it saves. */
export const smallCheckpointBytes = 200e6

/** The load options that affect the placement of weights. */
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
  // References and small models compute in f32, whatever types are stored.
  const computesInF32 = options.exact === true || (options.types === undefined && isSlowAsStored(checkpoint))
  const choice = options.types ?? (computesInF32 ? ({ type: 'f32' } as const) : undefined)
  const types = choice && { types: choice }
  return { ...types, bytes: checkpointMemory(checkpoint, declarations, { ...types, naming }).weights }
}

export interface ChosenPlacement extends Placement {
  /** Where repacked weights are mapped from, or written to. Absent for other placements. */
  readonly cache?: RepackCacheOptions
}

/** Chooses a placement. @throws EngineError `bad_checkpoint` if the weights do not match the architecture */
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
  const keeps = placement.kind === 'repacked-cached' || placement.kind === 'repacked-now'
  return { ...placement, ...(keeps && cache) }
}

/** Bytes of memory available for loading. */
export function availableFor(backend: Backend, { keepFree = 0 }: PlacementOptions): number {
  return backend.availableMemory() - (backend.kind === 'cpu' ? keepFree : 0)
}

/**
 * Small bf16 checkpoints are converted to f32: no value changes, and products of narrow matrices are faster and more
 * precise, because bf16 products also round the activations. Large checkpoints stay as stored, to save memory.
 */
function isSlowAsStored(checkpoint: Checkpoint): boolean {
  if (checkpoint.kind !== 'folder') return false
  let bytes = 0
  let narrow = false
  for (const { type, length } of checkpoint.tensors.values()) {
    bytes += length
    narrow ||= type === 'bf16'
  }
  return narrow && bytes < smallCheckpointBytes
}
