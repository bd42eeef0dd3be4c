/**
 * One continuous clock for a container whose own clock jumps forward, restarts or wraps. Pure.
 *
 * In: decoding times in file order, per stream, seconds. Out: the offset to add to them. A span between two jumps is an
 * epoch with one offset for all streams, so that audio and video stay in sync; streams enter an epoch one by one,
 * because a demuxer may still hold packets of the previous one.
 *
 * Reference: ISO/IEC 13818-1, 2.4.3.5 (discontinuity of the system time base).
 */

/** How far a stream's decoding times may step back without being a restart, seconds. */
const backward = 0.5

/** Longest gap of all streams that counts as a pause, seconds, by the format's guarantees of its clock. */
const forward = { continuous: 60, discontinuous: 10 } as const

interface StreamClock {
  epoch: number
  /** Latest decoding time, and its end, on the continuous clock. */
  last: number
  end: number
}

export class RunningClock {
  /** Jumps closed so far. */
  jumps = 0
  readonly #forward: number
  readonly #offsets: number[] = [0]
  readonly #streams = new Map<number, StreamClock>()
  #end: number | undefined
  #shownEnd = Number.NEGATIVE_INFINITY

  /** @param discontinuous whether the format allows jumps (MPEG-TS, MPEG-PS, Ogg) */
  constructor(discontinuous: boolean) {
    this.#forward = discontinuous ? forward.discontinuous : forward.continuous
  }

  /**
   * Records a packet.
   *
   * @param time decoding time, seconds; undefined where the packet has none
   * @param duration seconds; 0 where unknown
   * @param shown presentation time, seconds: what spans are joined by
   * @returns seconds to add to the packet's times
   */
  offset(stream: number, time: number | undefined, duration: number, shown = time): number {
    const known = this.#streams.get(stream)
    if (time === undefined) return this.#offsets[known?.epoch ?? this.#offsets.length - 1]!
    const epoch = known === undefined ? this.#firstEpoch(time) : this.#epochOf(known, time, shown ?? time)
    const offset = this.#offsets[epoch]!
    const last = time + offset
    const step = known === undefined ? 0 : Math.min(1, Math.max(0, last - known.last))
    const end = last + (duration > 0 ? duration : step)
    this.#streams.set(stream, { epoch, last, end })
    this.#end = Math.max(this.#end ?? end, end)
    this.#shownEnd = Math.max(this.#shownEnd, (shown ?? time) + offset + end - last)
    return offset
  }

  #firstEpoch(time: number): number {
    const newest = this.#offsets.length - 1
    const end = this.#end
    if (end === undefined) return newest
    const near = this.#offsets.findLastIndex((offset) => Math.abs(time + offset - end) <= this.#forward)
    return near < 0 ? newest : near
  }

  #epochOf(stream: StreamClock, time: number, shown: number): number {
    const goesOn = (offset: number) => {
      const at = time + offset
      return at >= stream.last - backward && at <= Math.max(stream.end, this.#end!) + this.#forward
    }
    if (goesOn(this.#offsets[stream.epoch]!)) return stream.epoch
    const other = this.#offsets.findLastIndex(goesOn)
    if (other >= 0) return other
    this.jumps += 1
    this.#offsets.push(this.#shownEnd - shown)
    return this.#offsets.length - 1
  }
}
