/**
 * Chooses the placement of a checkpoint's weights in memory: as stored, or repacked for this processor, with or without
 * a cache file.
 *
 * In: {@link PlacementFacts}, bytes of weights, and of free memory and disk. Out: a {@link Placement}, and what would
 * be faster and why it is not done. Pure: loading, `doctor` and the benchmarks ask the same function.
 *
 * Reference: docs/decisions/2026-11-30-placement-of-weights.md
 */

export interface PlacementFacts {
  /** Bytes of all weights as they are stored. */
  readonly stored: number
  /** Of those that can be repacked: bytes as stored, and once repacked. Both 0 on a GPU. */
  readonly repackable: number
  readonly repacked: number
  /** Bytes, as stored, of weights of products in 16 bits or more. */
  readonly wide: number
  /** Bytes for caches and intermediate results. */
  readonly working: number
  /** Bytes of memory that this process can get. Pages of files that can be dropped count. */
  readonly available: number
  /** Folder for the cache file of repacked weights. Absent: none, or files cannot be mapped on this system. */
  readonly cache?: {
    readonly directory: string
    /** Whether these weights are there already. */
    readonly kept: boolean
    /** Free bytes of its disk. */
    readonly free: number
  }
  /** False where repacking is switched off. */
  readonly repack: boolean
}

export type PlacementKind =
  /** As stored: mapped in place where the file allows, else copied. */
  | 'stored'
  /** Repacked at an earlier start, mapped. */
  | 'repacked-kept'
  /** Repacked at this start and written to disk; mapped from then on. */
  | 'repacked-now'
  /** Repacked at every start, in memory that the system cannot evict. */
  | 'repacked-in-memory'

export interface Placement {
  readonly kind: PlacementKind
  /** Bytes of the weights in this placement. */
  readonly weights: number
  /** Description for logs. */
  readonly chosen: string
  /** Text for logs: a faster placement, and what it requires. Absent if there is none. */
  readonly faster?: string
}

/** Disk space to leave free, bytes. */
const diskMargin = 2e9
/** Memory to leave free if the weights' memory cannot be evicted, bytes. */
const memoryMargin = 1e9

/** Bytes of wide weights that are not worth a conversion. */
const fewWide = 1e9

/** Chooses the fastest placement that fits. Whether even `stored` fits is for the caller to check. */
export function placeWeights(facts: PlacementFacts): Placement {
  const { faster: more, ...placement } = choose(facts)
  const converted = `omniserve convert --quantize q8_0, for the ${gigabytes(facts.wide)} of weights in 16 bits or more`
  const faster = [...(more === undefined ? [] : [more]), ...(facts.wide > fewWide ? [converted] : [])].join('; ')
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
  const lacking = `${gigabytes(available)} is available`
  if (need > available)
    return asStored(`weights repacked for this processor: they take ${gigabytes(need)} of memory, ${lacking}`)
  if (cache?.kept === true)
    return { kind: 'repacked-kept', weights, chosen: `${repackedText}, mapped from ${cache.directory}` }
  if (cache && cache.free >= repacked + diskMargin) {
    const chosen = `${repackedText} at this start, kept in ${cache.directory} for the next ones`
    return { kind: 'repacked-now', weights, chosen }
  }
  const place = cache
    ? `${gigabytes(repacked + diskMargin)} of disk in ${cache.directory}, ${gigabytes(cache.free)} is free`
    : 'a folder to keep them in'
  if (need + memoryMargin <= available) {
    return {
      kind: 'repacked-in-memory',
      weights,
      chosen: `${repackedText} in memory, again at each start`,
      faster: `repacked weights kept on disk, for the start: they take ${place}`,
    }
  }
  return asStored(
    `weights repacked for this processor: they take ${place}, or ${gigabytes(need + memoryMargin)} of memory, ${lacking}`,
  )
}

/** `17.3 GB`, or `0.4 MB` for small ones. */
export function gigabytes(bytes: number): string {
  return bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`
}
