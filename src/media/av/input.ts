/**
 * A container opened by FFmpeg from bytes in memory or from one file, and nothing else.
 *
 * Runs in a decoder process; calls are synchronous because the process serves one job. Reading goes through callbacks,
 * so FFmpeg's own protocols (file, http, concat, ...) are never used, and are forbidden as well. Packets get their
 * times on one continuous clock, whatever the container's does.
 */
import {
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AVFMT_FLAG_CUSTOM_IO,
  AVFMT_TS_DISCONT,
  AVMEDIA_TYPE_AUDIO,
  AVMEDIA_TYPE_VIDEO,
  AV_LOG_QUIET,
  AV_NOPTS_VALUE,
  AV_PKT_FLAG_CORRUPT,
} from 'node-av/constants'
import { Dictionary, FFmpegError, FormatContext, IOContext, Log, Packet, type Stream } from 'node-av/lib'
import { illegalCode, MediaError, type MediaKind } from '../errors.ts'
import { type ByteSource, ioBufferBytes, partOf, patched, seekable } from './bytes.ts'
import { RunningClock } from './clock.ts'
import { brokenFragment, declaredEnd } from './declared-end.ts'
import { audioDecoders, demuxers, videoDecoders } from './formats.ts'
import { type RationalLike, seconds } from './time.ts'
import { bigEndianCodec, waveHeader } from './wave-header.ts'

Log.setLevel(AV_LOG_QUIET)

/** Consecutive read errors before the rest is abandoned; each may have skipped a damaged part. */
const mostFailedReads = 64

/** Frames are decoded at most so long before they are shown, seconds. */
const mostReordering = 30

/** Longest range of a deep probe, microseconds: longer than any file. */
const deepAnalysis = 1_000_000_000_000n

export interface OpenOptions {
  /** Probes the whole file for streams that begin late, not only its first seconds. */
  readonly deep?: boolean
}

export interface Extent {
  packets: number
  /** Packets without a duration. */
  unmeasured: number
  /** Seconds. */
  start: number
  end: number
  /** Whether the last packet was damaged, as in a truncated file. */
  endsDamaged: boolean
}

export class MediaInput implements Disposable {
  readonly format: FormatContext
  /** As found by probing; {@link currentStreams} has those that appeared while reading, too. */
  readonly streams: readonly Stream[]
  /** Seconds by the headers of the container and its streams, never guessed from a bit rate. */
  readonly declared: { readonly container: number | undefined; readonly streams: readonly (number | undefined)[] }
  /** The last error while reading; reading may have continued after it. */
  readError: string | undefined
  /** As above, for an error that nothing readable follows. */
  endError: string | undefined
  /** The range of each audio and video stream on the continuous clock, as far as it was read. */
  readonly extents = new Map<number, Extent>()
  readonly #io: IOContext
  readonly #clock: RunningClock
  readonly #timeBases = new Map<number, RationalLike>()

  private constructor(format: FormatContext, io: IOContext, declared: MediaInput['declared']) {
    this.format = format
    this.streams = format.streams
    this.declared = declared
    this.#io = io
    this.#clock = new RunningClock(((format.iformat?.flags ?? 0) & AVFMT_TS_DISCONT) !== 0)
  }

  /**
   * Opens and probes.
   *
   * @param bytes closed by the caller
   * @throws MediaError `audio_illegal` or `video_invalid` when no allowed container is recognised
   */
  static open(bytes: ByteSource, kind: MediaKind, { deep = false }: OpenOptions = {}): MediaInput {
    const io = new IOContext()
    const wave = waveHeader(bytes)
    const end = brokenFragment(bytes)
    const readable = end === undefined ? bytes : partOf(bytes, 0, end)
    const { read, seek } = seekable(wave === undefined ? readable : patched(readable, wave.patches))
    io.allocContextWithCallbacks(ioBufferBytes, 0, read, null, seek)
    const format = new FormatContext()
    format.allocContext()
    format.pb = io
    format.setFlags(AVFMT_FLAG_CUSTOM_IO)
    format.maxStreams = 64
    if (deep) {
      format.probesize = BigInt(Math.max(bytes.size, 5_000_000))
      format.maxAnalyzeDuration = deepAnalysis
    }
    using options = Dictionary.fromObject({
      protocol_whitelist: 'none',
      format_whitelist: demuxers.join(','),
      codec_whitelist: [...videoDecoders, ...audioDecoders].join(','),
    })
    let opened = false
    try {
      const result = format.openInputSync('', null, options)
      if (result < 0) throw unreadable(kind, result, bytes)
      opened = true
      const declared = declaredSeconds(format) // before probing fills the gaps with guesses
      if (wave?.bigEndian === true) {
        for (const { codecpar } of format.streams) codecpar.codecId = bigEndianCodec(codecpar.codecId)
      }
      const probed = format.findStreamInfoSync(null)
      if (probed < 0) throw unreadable(kind, probed, bytes)
      // FLV's header of durations is its first packet, which probing reads.
      return new MediaInput(format, io, format.iformat?.name === 'flv' ? declaredSeconds(format) : declared)
    } catch (error) {
      if (opened) format.closeInputSync()
      else format.freeContext()
      io.freeContext()
      throw error
    }
  }

  /** FFmpeg's name of the container. */
  get containerName(): string {
    return this.format.iformat?.name ?? ''
  }

  /** How often the container's clock has jumped so far. */
  get jumps(): number {
    return this.#clock.jumps
  }

  get currentStreams(): readonly Stream[] {
    return this.format.streams
  }

  /** Calls `each` with every packet until the end, an unreadable rest, or `each` returning false. */
  readPackets(each: (packet: Packet) => boolean | void): void {
    using packet = new Packet()
    packet.alloc()
    while (this.#next(packet)) {
      const go = each(packet)
      packet.unref()
      if (go === false) return
    }
  }

  /** As {@link readPackets}, waiting for `each` whenever it returns a promise. */
  async readPacketsAsync(each: (packet: Packet) => Promise<void> | undefined | false): Promise<void> {
    using packet = new Packet()
    packet.alloc()
    while (this.#next(packet)) {
      const pending = each(packet)
      packet.unref()
      if (pending === false) return
      // oxlint-disable-next-line no-await-in-loop -- packets are in order
      if (pending !== undefined) await pending
    }
  }

  [Symbol.dispose](): void {
    this.format.closeInputSync()
    this.#io.freeContext()
  }

  /** A demuxer may report a damaged part and continue after it, so an error alone is not the end. */
  #next(packet: Packet): boolean {
    for (let failed = 0; failed < mostFailedReads; failed += 1) {
      const result = this.format.readFrameSync(packet)
      if (result >= 0) {
        this.endError = undefined
        this.#onClock(packet)
        return true
      }
      if (result === AVERROR_EOF) return false
      if (result !== AVERROR_EAGAIN) this.readError = this.endError = FFmpegError.strerror(result)
    }
    return false
  }

  #onClock(packet: Packet): void {
    const base = this.#timeBase(packet.streamIndex)
    if (base === undefined) return
    const time = packet.dts === AV_NOPTS_VALUE ? packet.pts : packet.dts
    const duration = seconds(packet.duration, base) ?? 0
    const shown = this.#shown(packet, base)
    const offset = this.#clock.offset(packet.streamIndex, seconds(time, base), duration, shown)
    if (offset !== 0) {
      const ticks = BigInt(Math.round((offset * base.den) / base.num))
      if (packet.pts !== AV_NOPTS_VALUE) packet.pts += ticks
      if (packet.dts !== AV_NOPTS_VALUE) packet.dts += ticks
    }
    this.#extend(packet, seconds(packet.pts === AV_NOPTS_VALUE ? packet.dts : packet.pts, base), duration)
  }

  /** Presentation time, seconds; where a jump lies between that and its decoding time, the latter stands for both. */
  #shown(packet: Packet, base: RationalLike): number | undefined {
    const shown = seconds(packet.pts, base)
    const decoded = seconds(packet.dts, base)
    if (shown === undefined || decoded === undefined || Math.abs(shown - decoded) < mostReordering) return shown
    packet.pts = packet.dts
    return decoded
  }

  /** Of an audio or video stream; undefined for one of another kind. */
  #timeBase(index: number): RationalLike | undefined {
    const known = this.#timeBases.get(index)
    if (known !== undefined) return known
    const stream = this.streams[index] ?? this.format.streams[index]
    const type = stream?.codecpar.codecType
    if (stream === undefined || (type !== AVMEDIA_TYPE_AUDIO && type !== AVMEDIA_TYPE_VIDEO)) return undefined
    const { num, den } = stream.timeBase
    this.#timeBases.set(index, { num, den })
    return { num, den }
  }

  #extend(packet: Packet, start: number | undefined, duration: number): void {
    let extent = this.extents.get(packet.streamIndex)
    if (extent === undefined) {
      extent = { packets: 0, unmeasured: 0, start: Infinity, end: -Infinity, endsDamaged: false }
      this.extents.set(packet.streamIndex, extent)
    }
    extent.packets += 1
    if (duration <= 0) extent.unmeasured += 1
    extent.endsDamaged = (packet.flags & AV_PKT_FLAG_CORRUPT) !== 0
    if (start === undefined) return
    extent.start = Math.min(extent.start, start)
    extent.end = Math.max(extent.end, start + duration)
  }
}

function declaredSeconds(format: FormatContext): MediaInput['declared'] {
  const container = Number(format.duration) / 1_000_000
  return {
    container: container > 0 ? container : undefined,
    streams: format.streams.map(({ duration, timeBase }) => (duration > 0n ? seconds(duration, timeBase) : undefined)),
  }
}

function unreadable(kind: MediaKind, code: number, bytes: ByteSource): MediaError {
  const reason = FFmpegError.strerror(code)
  const end = declaredEnd(bytes)
  const cut =
    end !== undefined && end > bytes.size ? ` It is cut off: ${bytes.size} of at least ${end} bytes are there.` : ''
  return new MediaError(
    illegalCode(kind),
    `The ${kind} is broken or in a format that is not supported (${reason}).${cut}`,
    {
      kind,
    },
  )
}
