/**
 * A video's frames in time, from its packets alone: how many there are, their presentation times, their rate.
 *
 * Headers can be wrong or missing (no duration, no frame count, variable rates); packets are reliable, and reading them
 * is much cheaper than decoding. Runs in a decoder process.
 */
import { AV_CODEC_ID_H264, AV_NOPTS_VALUE, AV_PKT_FLAG_DISCARD } from 'node-av/constants'
import type { Stream } from 'node-av/lib'
import type { MediaInput } from '../av/input.ts'
import { rate, seconds } from '../av/time.ts'

export interface Timeline {
  readonly frameCount: number
  /** Frames per second over the whole video. */
  readonly fps: number
  /** Presentation time of each frame, in the stream's time base, ascending; empty when packets carry no times. */
  readonly times: readonly bigint[]
  readonly durationSeconds: number
  /** Presentation time of the first frame, on the container's continuous clock, seconds. */
  readonly start: number
  /** When a stream's first packet begins, on the same clock; the video's start for one that carries no times. */
  readonly audioStart: (stream: number) => number
}

/** More frames than any allowed video can have: 150 s at 1 000 frames a second. */
const mostFrames = 150_000

/**
 * Reads every packet once.
 *
 * @param packets counted here, by stream
 * @returns undefined when the video is longer than `mostSeconds`
 */
export function readTimeline(
  input: MediaInput,
  video: Stream,
  mostSeconds: number,
  packets: Map<number, number>,
): Timeline | undefined {
  const base = video.timeBase
  const times: bigint[] = []
  let untimed = 0
  let first = Number.POSITIVE_INFINITY
  let last = Number.NEGATIVE_INFINITY
  let lastLength = 0
  let tooLong = false
  const declared = rate(video.avgFrameRate) ?? rate(video.rFrameRate)
  const fields = new FieldPairs(input.containerName, video, declared)
  input.readPackets((packet) => {
    packets.set(packet.streamIndex, (packets.get(packet.streamIndex) ?? 0) + 1)
    if (packet.streamIndex !== video.index || packet.size === 0 || packet.flags & AV_PKT_FLAG_DISCARD) return true
    const field = fields.take(seconds(packet.duration, base) ?? 0)
    if (field === 'second') return true
    const time = packet.pts // not decoding times: frames of a container without these (AVI) are counted
    if (time === AV_NOPTS_VALUE) untimed += 1
    else {
      times.push(time)
      const at = seconds(time, base) ?? 0
      first = Math.min(first, at)
      if (at >= last) [last, lastLength] = [at, (seconds(packet.duration, base) ?? 0) * (field === 'first' ? 2 : 1)]
    }
    tooLong = times.length + untimed > mostFrames || last - first > mostSeconds
    return !tooLong
  })
  if (tooLong) return undefined

  const frameCount = times.length + untimed
  const timed = untimed === 0 && times.length > 0
  times.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  const between = timed && frameCount > 1 && last > first ? (last - first) / (frameCount - 1) : undefined
  const length = lastLength > 0 ? lastLength : (between ?? 0)
  const measured = between === undefined ? undefined : frameCount / (last - first + length)
  // The declared average is what OpenCV and decord report; measured only where none is declared or it is impossible.
  const fps = declared !== undefined && plausible(declared, measured) ? declared : (measured ?? declared ?? 25)
  const durationSeconds = measured === undefined ? frameCount / fps : frameCount / measured
  if (durationSeconds > mostSeconds) return undefined
  const start = Number.isFinite(first) ? first : 0
  return {
    frameCount,
    fps,
    times: timed ? times : [],
    durationSeconds,
    start,
    audioStart: (stream) => {
      const at = input.extents.get(stream)?.start
      return at === undefined || !Number.isFinite(at) ? start : at
    },
  }
}

function plausible(declared: number, measured: number | undefined): boolean {
  return measured === undefined || (declared < measured * 1.5 && declared > measured / 1.5)
}

/**
 * Distinguishes packets with one field of H.264 from those with a frame. Only transport and program streams split the
 * fields: there a parser gives packets their duration, and a field has half a frame's.
 */
class FieldPairs {
  readonly #frameSeconds: number
  #open = false

  constructor(container: string, { codecpar }: Stream, declared: number | undefined) {
    const parted = codecpar.codecId === AV_CODEC_ID_H264 && (container === 'mpegts' || container === 'mpeg')
    this.#frameSeconds = parted && declared !== undefined ? 1 / declared : 0
  }

  /** @param duration of the packet, seconds */
  take(duration: number): 'frame' | 'first' | 'second' {
    const field = this.#frameSeconds > 0 && Math.abs(duration / this.#frameSeconds - 0.5) < 0.1
    const second = field && this.#open
    this.#open = field && !second
    return second ? 'second' : field ? 'first' : 'frame'
  }
}
