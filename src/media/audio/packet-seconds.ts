/** A stream's duration by its packets. */

import type { Stream } from 'node-av/lib'
import type { MediaInput } from '../av/input.ts'
import { seconds } from '../av/time.ts'
import { timesAreKept } from './audio-decoder.ts'

/** Reads the packets to the end, or until there is more than `most`. @returns seconds */
export function packetSeconds(input: MediaInput, stream: Stream, most: number): number {
  let sum = 0
  let packets = 0
  input.readPackets((packet) => {
    if (packet.streamIndex !== stream.index || packet.size === 0) return true
    packets += 1
    sum += seconds(packet.duration, stream.timeBase) ?? 0
    return sum <= most
  })
  if (packets === 0) return 0
  const extent = timesAreKept(input) ? input.extents.get(stream.index) : undefined
  const spanned = extent === undefined ? 0 : extent.end - extent.start
  return Number.isFinite(spanned) && spanned > sum ? spanned : sum
}
