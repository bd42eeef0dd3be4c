/** A stream's duration, computed from its packets without decoding them. */

import type { Stream } from 'node-av/lib'
import type { MediaInput } from '../av/input.ts'
import { toSeconds } from '../av/time.ts'
import { hasTimestamps } from './audio-decoder.ts'

/** Reads packets to the end, or until the stream is longer than `maxSeconds`. @returns seconds */
export function packetSeconds(input: MediaInput, stream: Stream, maxSeconds: number): number {
  let sum = 0
  let packets = 0
  input.readPackets((packet) => {
    if (packet.streamIndex !== stream.index || packet.size === 0) return true
    packets += 1
    sum += toSeconds(packet.duration, stream.timeBase) ?? 0
    return sum <= maxSeconds
  })
  if (packets === 0) return 0
  const extent = hasTimestamps(input) ? input.extents.get(stream.index) : undefined
  const span = extent === undefined ? 0 : extent.end - extent.start
  return Number.isFinite(span) && span > sum ? span : sum
}
