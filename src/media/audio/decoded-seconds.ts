/**
 * A stream's duration by decoding it, for containers whose packets do not say how long they are.
 *
 * In: an input at its start, and one of its audio streams. Out: seconds. Nothing is kept of the samples.
 */
import type { Stream } from 'node-av/lib'
import type { MediaInput } from '../av/input.ts'
import { AudioDecoder, type Placement } from './audio-decoder.ts'
import { audioRate } from './rate.ts'

/** Packets this long, seconds, make the length uncertain when the last one's is unknown. */
const mostUncertain = 0.05

/** Whether the packets, all read, leave the length of a stream open. */
export function lengthIsOpen(input: MediaInput, stream: number): boolean {
  const extent = input.extents.get(stream)
  if (extent === undefined || extent.unmeasured === 0) return false
  const span = extent.end - extent.start
  return !(span > 0 && span / extent.packets < mostUncertain)
}

/** Decodes to the end, or until there is more than `most`. @returns seconds */
export function decodedSeconds(input: MediaInput, stream: Stream, placement: Placement, most: number): number {
  using decoder = new AudioDecoder(stream, () => {}, placement)
  const { index } = stream
  input.readPackets((packet) => {
    if (packet.streamIndex === index) decoder.push(packet)
    return decoder.samples <= most * audioRate
  })
  decoder.flush()
  return decoder.samples / audioRate
}
