/**
 * Reads the number, the presentation timestamps and the rate of a video's frames from its packets.
 *
 * Headers can be wrong or incomplete (no duration, no frame count, variable rates). Packets are reliable, and reading
 * them is much cheaper than decoding. Runs in a decoder process.
 */
import { AV_CODEC_ID_H264, AV_NOPTS_VALUE, AV_PKT_FLAG_DISCARD } from 'node-av/constants'
import type { Stream } from 'node-av/lib'
import type { MediaInput } from '../av/input.ts'
import { toRatio, toSeconds } from '../av/time.ts'

export interface Timeline {
  readonly frameCount: number
  /** Frames per second over the whole video. */
  readonly fps: number
  /** Presentation timestamp of each frame, in the stream's time base, ascending; empty if packets have none. */
  readonly times: readonly bigint[]
  readonly durationSeconds: number
  /** Presentation timestamp of the first frame, on the continuous clock, seconds. */
  readonly start: number
  /** Start of a stream's first packet on the same clock, seconds; the video's start if it has no timestamps. */
  readonly audioStart: (stream: number) => number
}

/** More frames than any allowed video has: 150 s at 1 000 frames per second. */
const maxFrames = 150_000

/**
 * Reads every packet once.
 *
 * @param packets is filled with the number of packets by stream index
 * @returns undefined when the video is longer than `maxSeconds`
 */
export function readTimeline(
  input: MediaInput,
  video: Stream,
  maxSeconds: number,
  packets: Map<number, number>,
): Timeline | undefined {
  const base = video.timeBase
  const times: bigint[] = []
  let withoutTimestamp = 0
  let first = Number.POSITIVE_INFINITY
  let last = Number.NEGATIVE_INFINITY
  let lastDuration = 0
  let tooLong = false
  const declared = toRatio(video.avgFrameRate) ?? toRatio(video.rFrameRate)
  const fields = new FieldPairs(input.containerName, video, declared)
  input.readPackets((packet) => {
    packets.set(packet.streamIndex, (packets.get(packet.streamIndex) ?? 0) + 1)
    if (packet.streamIndex !== video.index || packet.size === 0 || packet.flags & AV_PKT_FLAG_DISCARD) return true
    const field = fields.classify(toSeconds(packet.duration, base) ?? 0)
    if (field === 'second') return true
    const time = packet.pts // no decoding timestamps: a container with only those (AVI) has its frames counted
    if (time === AV_NOPTS_VALUE) withoutTimestamp += 1
    else {
      times.push(time)
      const timestamp = toSeconds(time, base) ?? 0
      first = Math.min(first, timestamp)
      if (timestamp >= last)
        [last, lastDuration] = [timestamp, (toSeconds(packet.duration, base) ?? 0) * (field === 'first' ? 2 : 1)]
    }
    tooLong = times.length + withoutTimestamp > maxFrames || last - first > maxSeconds
    return !tooLong
  })
  if (tooLong) return undefined

  const frameCount = times.length + withoutTimestamp
  const hasTimestamps = withoutTimestamp === 0 && times.length > 0
  times.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  const meanInterval = hasTimestamps && frameCount > 1 && last > first ? (last - first) / (frameCount - 1) : undefined
  const frameDuration = lastDuration > 0 ? lastDuration : (meanInterval ?? 0)
  const measured = meanInterval === undefined ? undefined : frameCount / (last - first + frameDuration)
  // OpenCV and decord use the declared rate. It is replaced only if it is missing or contradicts the timestamps.
  const fps = declared !== undefined && plausible(declared, measured) ? declared : (measured ?? declared ?? 25)
  const durationSeconds = measured === undefined ? frameCount / fps : frameCount / measured
  if (durationSeconds > maxSeconds) return undefined
  const start = Number.isFinite(first) ? first : 0
  return {
    frameCount,
    fps,
    times: hasTimestamps ? times : [],
    durationSeconds,
    start,
    audioStart: (stream) => {
      const streamStart = input.extents.get(stream)?.start
      return streamStart === undefined || !Number.isFinite(streamStart) ? start : streamStart
    },
  }
}

function plausible(declared: number, measured: number | undefined): boolean {
  return measured === undefined || (declared < measured * 1.5 && declared > measured / 1.5)
}

/**
 * Distinguishes packets with one field of H.264 from packets with a frame, by their duration: half a frame's. Only
 * transport and program streams have separate packets for fields.
 */
class FieldPairs {
  readonly #frameSeconds: number
  #open = false

  constructor(container: string, { codecpar }: Stream, declared: number | undefined) {
    const separateFields = codecpar.codecId === AV_CODEC_ID_H264 && (container === 'mpegts' || container === 'mpeg')
    this.#frameSeconds = separateFields && declared !== undefined ? 1 / declared : 0
  }

  /** @param duration of the packet, seconds. Packets must be passed in order. */
  classify(duration: number): 'frame' | 'first' | 'second' {
    const field = this.#frameSeconds > 0 && Math.abs(duration / this.#frameSeconds - 0.5) < 0.1
    const second = field && this.#open
    this.#open = field && !second
    return second ? 'second' : field ? 'first' : 'frame'
  }
}
