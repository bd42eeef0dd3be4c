/**
 * Whether a file is truncated, by its container's own declarations.
 *
 * In: an input that was read to its end. Out: a sentence for the user, or nothing. Three indications: the declared
 * duration, the declared size in bytes, and a damaged last packet. A duration that FFmpeg estimates from a bit rate
 * does not count, nor one that contradicts a clock with jumps.
 */
import type { ByteSource } from './bytes.ts'
import { declaredEnd, secondFile } from './declared-end.ts'
import type { MediaInput } from './input.ts'

/** Headers round: a complete file may lack this much, seconds and share. */
const tolerance = { seconds: 0.2, share: 0.01 } as const

/** FLAC's header counts samples. */
const exactly = { seconds: 0.02, share: 0 } as const

/** Containers whose writers estimate the duration when they write to a pipe; their bytes are counted instead. */
const guessing: readonly string[] = ['avi', 'wav', 'w64']

/** Containers of bare samples: any last packet may be short. */
const bareSamples: readonly string[] = ['wav', 'w64', 'aiff', 'au', 'caf']

/**
 * @param stream the stream that was decoded
 * @param decoded seconds of decoded output
 */
export function cutOff(input: MediaInput, bytes: ByteSource, stream: number, decoded: number): string | undefined {
  const seconds =
    input.jumps > 0 || guessing.includes(input.containerName) ? undefined : missing(input, stream, decoded)
  if (seconds !== undefined) return seconds
  const end = declaredEnd(bytes)
  if (end !== undefined && end > bytes.size) return `${bytes.size} of at least ${end} bytes are there`
  if (input.endError !== undefined) return `its end cannot be read (${input.endError})`
  const damaged = input.extents.get(stream)?.endsDamaged === true && !bareSamples.includes(input.containerName)
  return damaged ? 'its last packet is damaged' : undefined
}

/** The other kind of truncation: read errors before the end of the file. */
export function leftOut(input: MediaInput, bytes: ByteSource): string[] {
  const second = secondFile(bytes)
  if (second !== undefined) return [`another file begins at byte ${second}; it was left out`]
  return input.readError === undefined ? [] : [`a part of the file cannot be read (${input.readError})`]
}

function missing(input: MediaInput, stream: number, decoded: number): string | undefined {
  const own = input.declared.streams[stream]
  const allowed = input.containerName === 'flac' ? exactly : tolerance
  if (own !== undefined) {
    const extent = input.extents.get(stream)
    return short(Math.max(decoded, extent === undefined ? 0 : extent.end - extent.start), own, allowed)
  }
  if (input.declared.container === undefined) return undefined
  const extents = [...input.extents.values()]
  // Some writers count from zero, others from the first packet: the more lenient reading applies.
  const end = Math.max(...extents.map((each) => each.end))
  const start = Math.min(...extents.map((each) => each.start))
  return short(Math.max(decoded, end, end - start), input.declared.container, allowed)
}

function short(there: number, declared: number, allowed: typeof tolerance | typeof exactly): string | undefined {
  const whole = there >= declared - Math.max(allowed.seconds, declared * allowed.share)
  const digits = declared - there < 0.2 ? 2 : 1
  return whole ? undefined : `${there.toFixed(digits)} s of ${declared.toFixed(digits)} s are there`
}
