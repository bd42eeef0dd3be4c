/**
 * A container opened by FFmpeg, with its packets' timestamps on one continuous clock.
 *
 * In: a byte source. Out: streams and packets. Runs in a decoder process; calls are synchronous because the process
 * serves one job. FFmpeg reads through callbacks, and its own protocols (file, http, concat, ...) are forbidden.
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
  AV_PKT_FLAG_DISCARD,
} from 'node-av/constants'
import { Dictionary, FFmpegError, FormatContext, IOContext, Log, Packet, type Stream } from 'node-av/lib'
import { illegalCode, MediaError, type MediaKind, supportedFormats } from '../errors.ts'
import { type ByteSource, ioBufferBytes, sliceBytes, patchBytes, ioCallbacks } from './bytes.ts'
import { ContinuousClock } from './clock.ts'
import { truncatedFragmentStart, declaredEnd } from './declared-end.ts'
import { audioDecoders, demuxers, videoDecoders } from './formats.ts'
import { type Rational, toSeconds } from './time.ts'
import { bigEndianCodec, waveHeader } from './wave-header.ts'

Log.setLevel(AV_LOG_QUIET)

/** Reading ends after this many consecutive errors. After a single error FFmpeg may continue behind a damaged part. */
const maxFailedReads = 64

/** A larger difference between presentation and decoding timestamp is a jump of the clock. Seconds. */
const maxReorderDelay = 30

/** Analysed duration of a deep probe, microseconds: longer than any file. */
const deepAnalyzeDuration = 1_000_000_000_000n

export interface OpenOptions {
  /** Probes the whole file, not only its first seconds, to find streams that begin late. */
  readonly deep?: boolean
}

/** The part of a stream that was read. Times are in seconds on the continuous clock. */
export interface StreamExtent {
  packets: number
  /** Packets without a duration. */
  withoutDuration: number
  start: number
  end: number
  /** Whether the last packet was damaged, as in a truncated file. */
  lastPacketDamaged: boolean
}

export class MediaInput implements Disposable {
  readonly format: FormatContext
  /** Streams that probing found; {@link currentStreams} also has those that appeared while reading. */
  readonly streams: readonly Stream[]
  /** Durations in seconds that the headers of the container and its streams declare; never FFmpeg's estimates. */
  readonly declared: { readonly container: number | undefined; readonly streams: readonly (number | undefined)[] }
  /** The last read error; reading may have continued after it. */
  readError: string | undefined
  /** The last read error, if nothing could be read after it. */
  endError: string | undefined
  /** By stream index, for audio and video streams. */
  readonly extents = new Map<number, StreamExtent>()
  readonly #io: IOContext
  readonly #clock: ContinuousClock
  readonly #timeBases = new Map<number, Rational>()

  private constructor(format: FormatContext, io: IOContext, declared: MediaInput['declared']) {
    this.format = format
    this.streams = format.streams
    this.declared = declared
    this.#io = io
    this.#clock = new ContinuousClock(((format.iformat?.flags ?? 0) & AVFMT_TS_DISCONT) !== 0)
  }

  /**
   * Opens and probes a file.
   *
   * @param bytes stay owned by the caller
   * @throws MediaError `audio_illegal` or `video_invalid` when no allowed container is recognised
   */
  static open(bytes: ByteSource, kind: MediaKind, { deep = false }: OpenOptions = {}): MediaInput {
    const io = new IOContext()
    const wave = waveHeader(bytes)
    const end = truncatedFragmentStart(bytes)
    const readable = end === undefined ? bytes : sliceBytes(bytes, 0, end)
    const { read, seek } = ioCallbacks(wave === undefined ? readable : patchBytes(readable, wave.patches))
    io.allocContextWithCallbacks(ioBufferBytes, 0, read, null, seek)
    const format = new FormatContext()
    format.allocContext()
    format.pb = io
    format.setFlags(AVFMT_FLAG_CUSTOM_IO)
    format.maxStreams = 64
    if (deep) {
      format.probesize = BigInt(Math.max(bytes.size, 5_000_000))
      format.maxAnalyzeDuration = deepAnalyzeDuration
    }
    using options = Dictionary.fromObject({
      protocol_whitelist: 'none',
      format_whitelist: demuxers.join(','),
      codec_whitelist: [...videoDecoders, ...audioDecoders].join(','),
    })
    let opened = false
    try {
      const result = format.openInputSync('', null, options)
      if (result < 0) throw unreadableError(kind, result, bytes)
      opened = true
      const declared = declaredSeconds(format) // probing replaces missing durations by estimates
      if (wave?.bigEndian === true) {
        for (const { codecpar } of format.streams) codecpar.codecId = bigEndianCodec(codecpar.codecId)
      }
      const probed = format.findStreamInfoSync(null)
      if (probed < 0) throw unreadableError(kind, probed, bytes)
      // FLV declares durations in its first packet, which probing reads.
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

  /** Calls `onPacket` for every packet, until the file ends, nothing more can be read, or `onPacket` returns false. */
  readPackets(onPacket: (packet: Packet) => boolean | void): void {
    using packet = new Packet()
    packet.alloc()
    while (this.#next(packet)) {
      const proceed = onPacket(packet)
      packet.unref()
      if (proceed === false) return
    }
  }

  /** Like {@link readPackets}, but waits for the promise if `onPacket` returns one. */
  async readPacketsAsync(onPacket: (packet: Packet) => Promise<void> | undefined | false): Promise<void> {
    using packet = new Packet()
    packet.alloc()
    while (this.#next(packet)) {
      const pending = onPacket(packet)
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

  /**
   * Reads the next packet. Errors are retried, because a demuxer may report a damaged part and continue after it. A
   * negative duration, which trims the end of an Ogg stream, comes from FFmpeg as an unsigned number of 32 bits.
   */
  #next(packet: Packet): boolean {
    for (let failed = 0; failed < maxFailedReads; failed += 1) {
      const result = this.format.readFrameSync(packet)
      if (result >= 0) {
        this.endError = undefined
        if (this.containerName === 'ogg') packet.duration = BigInt.asIntN(32, packet.duration)
        this.#applyClock(packet)
        return true
      }
      if (result === AVERROR_EOF) return false
      if (result !== AVERROR_EAGAIN) this.readError = this.endError = FFmpegError.strerror(result)
    }
    return false
  }

  #applyClock(packet: Packet): void {
    const base = this.#timeBase(packet.streamIndex)
    if (base === undefined) return
    const time = packet.dts === AV_NOPTS_VALUE ? packet.pts : packet.dts
    const duration = toSeconds(packet.duration, base) ?? 0
    const presentation = this.#presentationTime(packet, base)
    const offset = this.#clock.offset(packet.streamIndex, toSeconds(time, base), duration, presentation)
    if (offset !== 0) {
      const ticks = BigInt(Math.round((offset * base.den) / base.num))
      if (packet.pts !== AV_NOPTS_VALUE) packet.pts += ticks
      if (packet.dts !== AV_NOPTS_VALUE) packet.dts += ticks
      // FFmpeg applies the edit list of the first MP4 to one that is appended to it.
      packet.flags = (packet.flags & ~AV_PKT_FLAG_DISCARD) as Packet['flags']
    }
    this.#updateExtent(packet, toSeconds(packet.pts === AV_NOPTS_VALUE ? packet.dts : packet.pts, base), duration)
  }

  /** Presentation timestamp, seconds. If the clock jumps between it and the decoding timestamp, the latter is used. */
  #presentationTime(packet: Packet, base: Rational): number | undefined {
    const presentation = toSeconds(packet.pts, base)
    const decoding = toSeconds(packet.dts, base)
    if (presentation === undefined || decoding === undefined) return presentation
    if (Math.abs(presentation - decoding) < maxReorderDelay) return presentation
    packet.pts = packet.dts
    return decoding
  }

  /** Time base of an audio or video stream; undefined for other streams. */
  #timeBase(index: number): Rational | undefined {
    const known = this.#timeBases.get(index)
    if (known !== undefined) return known
    const stream = this.streams[index] ?? this.format.streams[index]
    const type = stream?.codecpar.codecType
    if (stream === undefined || (type !== AVMEDIA_TYPE_AUDIO && type !== AVMEDIA_TYPE_VIDEO)) return undefined
    const { num, den } = stream.timeBase
    this.#timeBases.set(index, { num, den })
    return { num, den }
  }

  #updateExtent(packet: Packet, start: number | undefined, duration: number): void {
    let extent = this.extents.get(packet.streamIndex)
    if (extent === undefined) {
      extent = { packets: 0, withoutDuration: 0, start: Infinity, end: -Infinity, lastPacketDamaged: false }
      this.extents.set(packet.streamIndex, extent)
    }
    extent.packets += 1
    if (duration <= 0) extent.withoutDuration += 1
    extent.lastPacketDamaged = (packet.flags & AV_PKT_FLAG_CORRUPT) !== 0
    if (start === undefined) return
    extent.start = Math.min(extent.start, start)
    extent.end = Math.max(extent.end, start + duration)
  }
}

function declaredSeconds(format: FormatContext): MediaInput['declared'] {
  const container = Number(format.duration) / 1_000_000
  // ASF declares one duration, which FFmpeg copies to every stream.
  const ofStreams = format.iformat?.name !== 'asf'
  return {
    container: container > 0 ? container : undefined,
    streams: format.streams.map(({ duration, timeBase }) =>
      ofStreams && duration > 0n ? toSeconds(duration, timeBase) : undefined,
    ),
  }
}

function unreadableError(kind: MediaKind, code: number, bytes: ByteSource): MediaError {
  const reason = FFmpegError.strerror(code)
  const end = declaredEnd(bytes)
  const fix =
    end !== undefined && end > bytes.size
      ? `It is cut off: the file has ${bytes.size} of at least ${end} bytes.`
      : supportedFormats[kind]
  return new MediaError(
    illegalCode(kind),
    `The ${kind} is broken or in a format that is not supported (${reason}). ${fix}`,
    { kind },
  )
}
