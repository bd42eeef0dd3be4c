/**
 * A container opened by FFmpeg from bytes in memory or from one file, and nothing else.
 *
 * Runs in a decoder process; calls are synchronous because the process serves one job. Reading goes through callbacks, so
 * FFmpeg's own protocols (file, http, concat, ...) are never used, and are forbidden besides.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { AVFMT_FLAG_CUSTOM_IO, AVSEEK_CUR, AVSEEK_END, AVSEEK_SIZE, AV_LOG_QUIET } from 'node-av/constants'
import { Dictionary, FFmpegError, FormatContext, IOContext, Log, Packet, type Stream } from 'node-av/lib'
import { illegalCode, MediaError, type MediaKind } from '../errors.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import { audioDecoders, demuxers, videoDecoders } from './formats.ts'

Log.setLevel(AV_LOG_QUIET)

const ioBufferBytes = 64 * 1024

export class MediaInput implements Disposable {
  readonly format: FormatContext
  readonly streams: readonly Stream[]
  readonly #io: IOContext
  readonly #closeSource: () => void

  private constructor(format: FormatContext, io: IOContext, closeSource: () => void) {
    this.format = format
    this.streams = format.streams
    this.#io = io
    this.#closeSource = closeSource
  }

  /**
   * Opens and probes.
   *
   * @throws MediaError `audio_illegal` or `video_invalid` when no allowed container is recognised
   */
  static open(source: SpooledBytes, kind: MediaKind): MediaInput {
    const bytes = byteSource(source)
    const io = new IOContext()
    io.allocContextWithCallbacks(ioBufferBytes, 0, bytes.read, null, bytes.seek)
    const format = new FormatContext()
    format.allocContext()
    format.pb = io
    format.setFlags(AVFMT_FLAG_CUSTOM_IO)
    format.maxStreams = 64
    using options = Dictionary.fromObject({
      protocol_whitelist: 'none',
      format_whitelist: demuxers.join(','),
      codec_whitelist: [...videoDecoders, ...audioDecoders].join(','),
    })
    let opened = false
    try {
      const result = format.openInputSync('', null, options)
      if (result < 0) throw unreadable(kind, result)
      opened = true
      const probed = format.findStreamInfoSync(null)
      if (probed < 0) throw unreadable(kind, probed)
      return new MediaInput(format, io, bytes.close)
    } catch (error) {
      if (opened) format.closeInputSync()
      else format.freeContext()
      io.freeContext()
      bytes.close()
      throw error
    }
  }

  /** Calls `each` with every packet until the end, an unreadable rest, or `each` returning false. */
  readPackets(each: (packet: Packet) => boolean | void): void {
    using packet = new Packet()
    packet.alloc()
    while (this.format.readFrameSync(packet) >= 0) {
      const go = each(packet)
      packet.unref()
      if (go === false) return
    }
  }

  /** As {@link readPackets}, waiting for `each` whenever it returns a promise. */
  async readPacketsAsync(each: (packet: Packet) => Promise<void> | undefined | false): Promise<void> {
    using packet = new Packet()
    packet.alloc()
    while (this.format.readFrameSync(packet) >= 0) {
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
    this.#closeSource()
  }
}

function unreadable(kind: MediaKind, code: number): MediaError {
  const reason = FFmpegError.strerror(code)
  return new MediaError(illegalCode(kind), `The ${kind} is broken or in no format that is taken (${reason}).`, { kind })
}

interface ByteSource {
  readonly read: (size: number) => Buffer | null
  readonly seek: (offset: bigint, whence: number) => bigint
  readonly close: () => void
}

function byteSource(source: SpooledBytes): ByteSource {
  if ('memory' in source) {
    const { buffer, byteOffset, byteLength } = source.memory
    const bytes = Buffer.from(buffer, byteOffset, byteLength)
    return cursor(byteLength, (position, size) => bytes.subarray(position, position + size))
  }
  const fd = openSync(source.path, 'r')
  const target = Buffer.allocUnsafe(ioBufferBytes)
  return cursor(
    fstatSync(fd).size,
    (position, size) => {
      const into = size <= target.length ? target : Buffer.allocUnsafe(size)
      return into.subarray(0, readSync(fd, into, 0, size, position))
    },
    () => closeSync(fd),
  )
}

function cursor(size: number, readAt: (position: number, size: number) => Buffer, close = () => {}): ByteSource {
  let position = 0
  return {
    read: (wanted) => {
      const take = Math.min(wanted, size - position)
      if (take <= 0) return null
      const bytes = readAt(position, take)
      position += bytes.length
      return bytes
    },
    seek: (offset, whence) => {
      if ((whence & AVSEEK_SIZE) !== 0) return BigInt(size)
      const base = whence === AVSEEK_CUR ? position : whence === AVSEEK_END ? size : 0
      const next = base + Number(offset)
      if (next < 0 || next > size) return -1n
      position = next
      return BigInt(position)
    },
    close,
  }
}
