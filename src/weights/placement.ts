/**
 * Chooses how a checkpoint's weights are loaded: as stored, or repacked for this processor, with or without a cache
 * file.
 *
 * In: {@link PlacementFacts}: bytes of weights, and of free memory and disk. Out: a {@link Placement}, and which faster
 * one is not possible and why. A pure function, used by loading, `doctor` and the benchmarks.
 *
 * Reference: docs/decisions/2026-11-30-placement-of-weights.md
 */

export interface PlacementFacts {
  /** Bytes of all weights as they are stored. */
  readonly stored: number
  /** Of those, bytes of weights that can be repacked. 0 on a GPU. */
  readonly repackable: number
  /** Bytes of these once repacked. */
  readonly repacked: number
  /** Bytes of matrix product weights that are stored in 16 bits or more. */
  readonly unquantised: number
  /** Bytes for caches and intermediate results. */
  readonly working: number
  /** Bytes of memory available to this process, including evictable pages of files. */
  readonly available: number
  /** Cache of repacked weights. Absent: no cache, or files cannot be mapped on this system. */
  readonly cache?: {
    readonly directory: string
    /** Whether these weights are in the cache. */
    readonly exists: boolean
    /** Free bytes of its disk. */
    readonly free: number
  }
  /** Whether repacking is enabled. */
  readonly repack: boolean
}

export type PlacementKind =
  /** As stored: mapped in place where possible, else copied. */
  | 'stored'
  /** Repacked at an earlier start and mapped from the cache. */
  | 'repacked-cached'
  /** Repacked at this start and written to the cache. */
  | 'repacked-now'
  /** Repacked at every start, in memory that the system cannot evict. */
  | 'repacked-in-memory'

export interface Placement {
  readonly kind: PlacementKind
  /** Bytes of the weights in this placement. */
  readonly weights: number
  /** Description, for logs. */
  readonly chosen: string
  /** A faster placement and what it requires, for logs. Absent when there is none. */
  readonly faster?: string
}

/** Bytes of disk space to leave free. */
const diskMargin = 2e9
/** Bytes of memory to leave free when the weights' memory cannot be evicted. */
const memoryMargin = 1e9

/** Bytes of unquantised weights up to which conversion is not recommended. */
const fewUnquantised = 1e9

/** Chooses the fastest placement that fits. `stored` is the last resort: the caller checks whether it fits. */
export function placeWeights(facts: PlacementFacts): Placement {
  const { faster: more, ...placement } = choose(facts)
  const converted = `omniserve convert --quantize q8_0, for the ${gigabytes(facts.unquantised)} of weights in 16 bits or more`
  const faster = [
    ...(more === undefined ? [] : [more]),
    ...(facts.unquantised > fewUnquantised ? [converted] : []),
  ].join('; ')
  return { ...placement, ...(faster !== '' && { faster }) }
}

function choose(facts: PlacementFacts): Placement {
  const { stored, repackable, repacked, working, available, cache } = facts
  const weights = stored - repackable + repacked
  const need = weights + working
  const asStored = (faster?: string): Placement => ({
    kind: 'stored',
    weights: stored,
    chosen: `${gigabytes(stored)} as stored`,
    ...(faster !== undefined && { faster }),
  })
  if (repackable === 0) return asStored()
  if (!facts.repack) return asStored('weights repacked for this processor, which is switched off')
  const repackedText = `${gigabytes(repacked)} repacked for this processor`
  const availableText = `${gigabytes(available)} is available`
  if (need > available)
    return asStored(`weights repacked for this processor: they take ${gigabytes(need)} of memory, ${availableText}`)
  if (cache?.exists === true)
    return { kind: 'repacked-cached', weights, chosen: `${repackedText}, mapped from ${cache.directory}` }
  if (cache && cache.free >= repacked + diskMargin) {
    const chosen = `${repackedText} at this start, kept in ${cache.directory} for the next ones`
    return { kind: 'repacked-now', weights, chosen }
  }
  const requirement = cache
    ? `${gigabytes(repacked + diskMargin)} of disk in ${cache.directory}, ${gigabytes(cache.free)} is free`
    : 'a folder to keep them in'
  if (need + memoryMargin <= available) {
    return {
      kind: 'repacked-in-memory',
      weights,
      chosen: `${repackedText} in memory, again at each start`,
      faster: `repacked weights kept on disk, for the start: they take ${requirement}`,
    }
  }
  return asStored(
    `weights repacked for this processor: they take ${requirement}, or ${gigabytes(need + memoryMargin)} of memory, ${availableText}`,
  )
}

/** For messages: `17.3 GB`, or `0.4 MB` for small numbers of bytes. */
export function gigabytes(bytes: number): string {
  return bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`
}
