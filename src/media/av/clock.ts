/**
 * A continuous clock for a container whose own clock jumps forward, restarts or wraps. Pure.
 *
 * In: decoding timestamps in file order, per stream, seconds. Out: the offset to add to them. A span between two jumps
 * is an epoch with one offset for all streams, so that audio and video stay in sync. Streams enter an epoch one by one,
 * because the demuxer may still return packets of the previous one.
 *
 * Reference: ISO/IEC 13818-1, 2.4.3.5 (discontinuity of the system time base).
 */

/** A stream's decoding timestamps may step back by this much without a restart of the clock. Seconds. */
const maxStepBack = 0.5

/** A longer gap in all streams is a jump of the clock. Depends on what the format guarantees. Seconds. */
const maxPauses = { continuous: 60, discontinuous: 10 } as const

interface StreamClock {
  epoch: number
  /** Latest decoding timestamp on the continuous clock. */
  last: number
  /** `last` plus the packet's duration. */
  end: number
}

export class ContinuousClock {
  /** Number of jumps so far. */
  jumps = 0
  readonly #maxPause: number
  readonly #offsets: number[] = [0]
  readonly #streams = new Map<number, StreamClock>()
  #end: number | undefined
  #presentationEnd = Number.NEGATIVE_INFINITY

  /** @param discontinuous whether the format allows the clock to jump (MPEG-TS, MPEG-PS, Ogg) */
  constructor(discontinuous: boolean) {
    this.#maxPause = discontinuous ? maxPauses.discontinuous : maxPauses.continuous
  }

  /**
   * Records a packet.
   *
   * @param time decoding timestamp, seconds; undefined where the packet has none
   * @param duration seconds; 0 where unknown
   * @param presentation presentation timestamp, seconds; epochs are joined by it
   * @returns seconds to add to the packet's timestamps
   */
  offset(stream: number, time: number | undefined, duration: number, presentation = time): number {
    const known = this.#streams.get(stream)
    if (time === undefined) return this.#offsets[known?.epoch ?? this.#offsets.length - 1]!
    const epoch = known === undefined ? this.#firstEpoch(time) : this.#epochOf(known, time, presentation ?? time)
    const offset = this.#offsets[epoch]!
    const last = time + offset
    const step = known === undefined ? 0 : Math.min(1, Math.max(0, last - known.last))
    const end = last + (duration > 0 ? duration : step)
    this.#streams.set(stream, { epoch, last, end })
    this.#end = Math.max(this.#end ?? end, end)
    this.#presentationEnd = Math.max(this.#presentationEnd, (presentation ?? time) + offset + end - last)
    return offset
  }

  #firstEpoch(time: number): number {
    const newest = this.#offsets.length - 1
    const end = this.#end
    if (end === undefined) return newest
    const near = this.#offsets.findLastIndex((offset) => Math.abs(time + offset - end) <= this.#maxPause)
    return near < 0 ? newest : near
  }

  #epochOf(stream: StreamClock, time: number, presentation: number): number {
    const continues = (offset: number) => {
      const continued = time + offset
      return continued >= stream.last - maxStepBack && continued <= Math.max(stream.end, this.#end!) + this.#maxPause
    }
    if (continues(this.#offsets[stream.epoch]!)) return stream.epoch
    const other = this.#offsets.findLastIndex(continues)
    if (other >= 0) return other
    this.jumps += 1
    this.#offsets.push(this.#presentationEnd - presentation)
    return this.#offsets.length - 1
  }
}
