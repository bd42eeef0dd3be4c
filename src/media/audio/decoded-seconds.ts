/**
 * An audio stream's duration by decoding it, for containers whose packets have no duration.
 *
 * In: an input at its start, and one of its audio streams. Out: seconds. The samples are discarded.
 */
import type { Stream } from 'node-av/lib'
import type { MediaInput } from '../av/input.ts'
import { AudioDecoder, type Placement } from './audio-decoder.ts'
import { audioRate } from './rate.ts'

/** Largest uncertainty that an unknown duration of the last packet may add to the stream's duration. Seconds. */
const maxUncertainty = 0.05

/** Whether a stream's packets do not determine its duration. All packets must have been read. */
export function durationIsUnknown(input: MediaInput, stream: number): boolean {
  const extent = input.extents.get(stream)
  if (extent === undefined || extent.withoutDuration === 0) return false
  const span = extent.end - extent.start
  return !(span > 0 && span / extent.packets < maxUncertainty)
}

/** Decodes to the end, or until the audio is longer than `maxSeconds`. @returns seconds */
export function decodedSeconds(input: MediaInput, stream: Stream, placement: Placement, maxSeconds: number): number {
  using decoder = new AudioDecoder(stream, () => {}, placement)
  const { index } = stream
  input.readPackets((packet) => {
    if (packet.streamIndex === index) decoder.push(packet)
    return decoder.samples <= maxSeconds * audioRate
  })
  decoder.flush()
  return decoder.samples / audioRate
}
