/**
 * How a checkpoint's weights are held in memory: as stored, or repacked for this processor, and where repacked ones
 * are kept.
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
  /** Where repacked weights may be kept. Absent: nowhere, or files cannot be mapped here. */
  readonly cache?: {
    readonly directory: string
    /** Whether these weights are there already. */
    readonly kept: boolean
    /** Bytes that its disk has left. */
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
  /** Repacked at every start, in memory that the system cannot take back. */
  | 'repacked-in-memory'

export interface Placement {
  readonly kind: PlacementKind
  /** Bytes of weights, held this way. */
  readonly weights: number
  /** For people: what is done. */
  readonly chosen: string
  /** For people: what would be faster, and what it takes. Absent when nothing would. */
  readonly faster?: string
}

/** Disk that is left to others, bytes. */
const diskMargin = 2e9
/** Memory left to others when the weights' memory cannot be taken back, bytes. */
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
