/**
 * Detects a truncated file by what its container declares.
 *
 * In: an input that was read to its end. Out: a description for the user, or nothing. Three indications are checked:
 * the declared duration, the declared size in bytes, and a damaged last packet. The duration is not checked where
 * FFmpeg estimates it from a bit rate, or where the container's clock jumps.
 */
import type { ByteSource } from './bytes.ts'
import { declaredEnd, appendedFileStart } from './declared-end.ts'
import type { MediaInput } from './input.ts'

/** Headers round: a complete file may be this much shorter than declared, in seconds and as a fraction. */
const defaultTolerance = { seconds: 0.2, fraction: 0.01 } as const

/** FLAC's header has the exact number of samples. */
const flacTolerance = { seconds: 0.02, fraction: 0 } as const

/** Writers of these containers estimate the duration when they write to a pipe, so only their size is checked. */
const estimatedDuration: readonly string[] = ['avi', 'wav', 'w64']

/** Containers of uncompressed samples: FFmpeg may mark a complete last packet as damaged. */
const uncompressed: readonly string[] = ['wav', 'w64', 'aiff', 'au', 'caf']

/**
 * Describes how a file is cut off, or returns undefined for a complete one.
 *
 * @param stream index of the stream that was decoded
 * @param decoded seconds of decoded output
 */
export function describeTruncation(
  input: MediaInput,
  bytes: ByteSource,
  stream: number,
  decoded: number,
): string | undefined {
  const seconds =
    input.jumps > 0 || estimatedDuration.includes(input.containerName)
      ? undefined
      : missingDuration(input, stream, decoded)
  if (seconds !== undefined) return seconds
  const end = declaredEnd(bytes)
  if (end !== undefined && end > bytes.size) return `the file has ${bytes.size} of at least ${end} bytes`
  if (input.endError !== undefined) return `its end cannot be read (${input.endError})`
  const damaged = input.extents.get(stream)?.lastPacketDamaged === true && !uncompressed.includes(input.containerName)
  return damaged ? 'its last packet is damaged' : undefined
}

/** Describes parts of a complete file that were not read: a second file appended to it, or damaged parts. */
export function describeUnreadParts(input: MediaInput, bytes: ByteSource): string[] {
  const second = appendedFileStart(bytes)
  if (second !== undefined) return [`another file begins at byte ${second}; it was not read`]
  return input.readError === undefined ? [] : [`a part of the file cannot be read (${input.readError})`]
}

function missingDuration(input: MediaInput, stream: number, decoded: number): string | undefined {
  const declared = input.declared.streams[stream]
  const tolerance = input.containerName === 'flac' ? flacTolerance : defaultTolerance
  if (declared !== undefined) {
    const extent = input.extents.get(stream)
    return shortfall(Math.max(decoded, extent === undefined ? 0 : extent.end - extent.start), declared, tolerance)
  }
  if (input.declared.container === undefined) return undefined
  const extents = [...input.extents.values()]
  // Some writers count the duration from zero, others from the first packet: the file passes if one of them fits.
  const end = Math.max(...extents.map((extent) => extent.end))
  const start = Math.min(...extents.map((extent) => extent.start))
  return shortfall(Math.max(decoded, end, end - start), input.declared.container, tolerance)
}

function shortfall(
  present: number,
  declared: number,
  tolerance: typeof defaultTolerance | typeof flacTolerance,
): string | undefined {
  const complete = present >= declared - Math.max(tolerance.seconds, declared * tolerance.fraction)
  const digits = declared - present < 0.2 ? 2 : 1
  return complete ? undefined : `it has ${present.toFixed(digits)} s of ${declared.toFixed(digits)} s`
}
