/**
 * Small media files for tests, encoded and muxed by FFmpeg: any codec, any container, any time stamps.
 *
 * Video frames are of one grey level that is their number (see {@link greyLevel}); audio is tones at half scale. In:
 * tracks. Out: the file's bytes.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  AVMEDIA_TYPE_VIDEO,
  AV_CODEC_FLAG_GLOBAL_HEADER,
  AV_CODEC_FLAG_INTERLACED_DCT,
  AV_CODEC_FLAG_INTERLACED_ME,
  AV_CODEC_ID_H264,
  AV_FRAME_FLAG_INTERLACED,
  AV_FRAME_FLAG_TOP_FIELD_FIRST,
  AV_LOG_QUIET,
  AV_NOPTS_VALUE,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUV422P10LE,
  AV_SAMPLE_FMT_FLT,
  AV_SAMPLE_FMT_FLTP,
  AV_SAMPLE_FMT_S16,
  AV_SAMPLE_FMT_S16P,
  AV_SAMPLE_FMT_S32,
  type AVPixelFormat,
  type FFEncoderCodec,
} from 'node-av/constants'
import {
  avChannelLayoutDefault,
  Codec,
  CodecContext,
  Dictionary,
  FFmpegError,
  FormatContext,
  Frame,
  Log,
  Packet,
  type Stream,
} from 'node-av/lib'

export interface VideoTrack {
  /** FFmpeg's name of the encoder. */
  readonly codec: string
  readonly frames: number
  readonly fps?: number
  readonly width?: number
  readonly height?: number
  readonly pixelFormat?: AVPixelFormat
  readonly interlaced?: boolean
  /** When the first frame is shown, seconds. */
  readonly start?: number
  /** From frame `at` on, times are later by so many seconds. */
  readonly jump?: { readonly at: number; readonly seconds: number }
  /** Number of the first frame. */
  readonly first?: number
  readonly options?: Readonly<Record<string, string>>
}

export interface AudioTrack {
  readonly codec: string
  readonly rate?: number
  readonly channels?: number
  /** The intervals of tones; the rest is not written. */
  readonly tones: readonly { readonly start: number; readonly seconds: number; readonly hz: number }[]
  readonly options?: Readonly<Record<string, string>>
}

/** Frames that are encoded already. */
export interface H264Track {
  /** One access unit for each frame, all of them keyframes. */
  readonly frames: readonly Buffer[]
  readonly parameterSets: Buffer
  readonly fps: number
  readonly width: number
  readonly height: number
}

export interface MediaDescription {
  /** FFmpeg's name of the muxer. */
  readonly container: string
  readonly tracks: readonly (
    | { readonly video: VideoTrack }
    | { readonly audio: AudioTrack }
    | { readonly h264: H264Track }
  )[]
  readonly muxer?: Readonly<Record<string, string>>
}

/** Luma of frame `number` (16 to 235), distinguishable from its neighbours' after encoding. */
export function greyLevel(number: number): number {
  return 16 + ((number * 5) % 220)
}

export function makeMedia({ container, tracks, muxer = {} }: MediaDescription): Buffer {
  Log.setLevel(AV_LOG_QUIET)
  const folder = mkdtempSync(join(tmpdir(), 'make-media-'))
  const path = join(folder, 'file')
  try {
    const output = new FormatContext()
    check(output.allocOutputContext2(null, container, path), `muxer ${container}`)
    const global = ['mp4', 'mov', 'matroska', 'webm', 'flv', 'ogg', 'asf', 'ipod'].includes(container)
    const sources = tracks.map((track) => {
      const stream = output.newStream()
      if ('h264' in track) return codedSource(stream, track.h264)
      const encoder = 'video' in track ? openVideo(track.video, global) : openAudio(track.audio, global)
      stream.timeBase = encoder.timeBase
      check(stream.codecpar.fromContext(encoder), 'parameters')
      const makePackets = () =>
        'video' in track ? encodeVideo(encoder, track.video) : encodeAudio(encoder, track.audio)
      return { stream, timeBase: encoder.timeBase, makePackets, close: () => encoder.freeContext() }
    })
    check(output.openOutputSync(), 'open')
    using options = Dictionary.fromObject(muxer)
    check(output.writeHeaderSync(options), 'header')
    const packets = sources.flatMap(({ stream, timeBase, makePackets }) =>
      makePackets().map((packet) => place(packet, timeBase, stream)),
    )
    for (const { packet } of packets.toSorted((a, b) => a.time - b.time)) {
      check(output.interleavedWriteFrameSync(packet), 'packet')
      packet.free()
    }
    check(output.writeTrailerSync(), 'trailer')
    output.closeOutputSync()
    for (const { close } of sources) close()
    output.freeContext()
    return readFileSync(path)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function place(packet: Packet, from: CodecContext['timeBase'], stream: Stream) {
  packet.streamIndex = stream.index
  if (packet.duration <= 0n) packet.duration = 1n // or the muxer shortens the track by its last frame
  packet.rescaleTs(from, stream.timeBase)
  const { num, den } = stream.timeBase
  return { packet, time: (Number(packet.dts === AV_NOPTS_VALUE ? packet.pts : packet.dts) * num) / den }
}

function codedSource(stream: Stream, { frames, parameterSets, fps, width, height }: H264Track) {
  const timeBase = { num: 1, den: fps } as CodecContext['timeBase']
  stream.timeBase = timeBase
  stream.codecpar.codecType = AVMEDIA_TYPE_VIDEO
  stream.codecpar.codecId = AV_CODEC_ID_H264
  stream.codecpar.extradata = parameterSets
  stream.codecpar.width = width
  stream.codecpar.height = height
  const makePackets = () =>
    frames.map((data, i) => {
      const packet = new Packet()
      packet.alloc()
      packet.data = data
      packet.pts = BigInt(i)
      packet.dts = BigInt(i)
      packet.isKeyframe = true
      return packet
    })
  return { stream, timeBase, makePackets, close: () => {} }
}

function newEncoder(
  name: string,
  options: Readonly<Record<string, string>> = {},
): { codec: Codec; encoder: CodecContext } {
  const codec = Codec.findEncoderByName(name as FFEncoderCodec)
  if (codec === null) throw new Error(`no encoder ${name}`)
  const encoder = new CodecContext()
  encoder.allocContext3(codec)
  encoder.setOption('strict', '-2')
  for (const [key, value] of Object.entries(options)) check(encoder.setOption(key, value), `option ${key}`)
  return { codec, encoder }
}

function openVideo(track: VideoTrack, global: boolean): CodecContext {
  const { codec, encoder } = newEncoder(track.codec, track.options)
  encoder.width = track.width ?? 64
  encoder.height = track.height ?? 48
  encoder.pixelFormat = track.pixelFormat ?? AV_PIX_FMT_YUV420P
  encoder.timeBase = { num: 1, den: track.fps ?? 10 } as CodecContext['timeBase']
  encoder.framerate = { num: track.fps ?? 10, den: 1 } as CodecContext['framerate']
  encoder.gopSize = 10
  encoder.bitRate = 2_000_000n
  if (global) encoder.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER)
  if (track.interlaced === true) encoder.setFlags(AV_CODEC_FLAG_INTERLACED_DCT, AV_CODEC_FLAG_INTERLACED_ME)
  check(encoder.open2Sync(codec, null), `encoder ${track.codec}`)
  return encoder
}

function encodeVideo(encoder: CodecContext, track: VideoTrack): Packet[] {
  const packets: Packet[] = []
  const start = Math.round((track.start ?? 0) * (track.fps ?? 10))
  for (let i = 0; i < track.frames; i += 1) {
    const frame = new Frame()
    frame.alloc()
    frame.width = encoder.width
    frame.height = encoder.height
    frame.format = encoder.pixelFormat
    frame.allocBuffer()
    paint(frame, greyLevel((track.first ?? 0) + i))
    const { at, seconds } = track.jump ?? { at: Infinity, seconds: 0 }
    frame.pts = BigInt(start + i + (i >= at ? seconds * (track.fps ?? 10) : 0))
    if (track.interlaced === true) frame.setFlags(AV_FRAME_FLAG_INTERLACED, AV_FRAME_FLAG_TOP_FIELD_FIRST)
    packets.push(...encode(encoder, frame))
    frame.free()
  }
  return [...packets, ...encode(encoder, null)]
}

function paint(frame: Frame, level: number): void {
  const deep = frame.format === AV_PIX_FMT_YUV422P10LE
  for (const [plane, bytes] of frame.data!.entries()) {
    const value = plane === 0 ? level : 128
    if (!deep) bytes.fill(value)
    else for (let at = 0; at + 1 < bytes.length; at += 2) bytes.writeUInt16LE(value * 4, at)
  }
}

function openAudio(track: AudioTrack, global: boolean): CodecContext {
  const { codec, encoder } = newEncoder(track.codec, track.options)
  const rate = track.rate ?? 48_000
  const formats = codec.sampleFormats ?? [AV_SAMPLE_FMT_S16]
  encoder.sampleFormat = formats.find((format) => writers.has(format)) ?? AV_SAMPLE_FMT_S16
  encoder.sampleRate = rate
  encoder.channelLayout = avChannelLayoutDefault(track.channels ?? 1)
  encoder.timeBase = { num: 1, den: rate } as CodecContext['timeBase']
  if (global) encoder.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER)
  check(encoder.open2Sync(codec, null), `encoder ${track.codec}`)
  return encoder
}

function encodeAudio(encoder: CodecContext, { tones }: AudioTrack): Packet[] {
  const packets: Packet[] = []
  const rate = encoder.sampleRate
  const most = encoder.frameSize > 0 ? encoder.frameSize : 1024
  for (const { start, seconds, hz } of tones) {
    const [first, last] = [Math.round(start * rate), Math.round((start + seconds) * rate)]
    for (let at = first; at < last; at += most) {
      const frame = new Frame()
      frame.alloc()
      frame.nbSamples = encoder.frameSize > 0 ? most : Math.min(most, last - at) // a short frame would end the stream
      frame.format = encoder.sampleFormat
      frame.channelLayout = encoder.channelLayout
      frame.sampleRate = rate
      frame.allocBuffer()
      sing(frame, (i) => 0.5 * Math.sin((2 * Math.PI * hz * (at + i)) / rate))
      frame.pts = BigInt(at)
      packets.push(...encode(encoder, frame))
      frame.free()
    }
  }
  return [...packets, ...encode(encoder, null)]
}

function sing(frame: Frame, sample: (index: number) => number): void {
  const planar = frame.format === AV_SAMPLE_FMT_FLTP || frame.format === AV_SAMPLE_FMT_S16P
  const { nbChannels } = frame.channelLayout
  const planes = frame.extendedData!
  const write = writers.get(frame.format)
  if (write === undefined) throw new Error(`sample format ${frame.format}`)
  for (let i = 0; i < frame.nbSamples; i += 1) {
    for (let channel = 0; channel < nbChannels; channel += 1) {
      write(planes[planar ? channel : 0]!, planar ? i : i * nbChannels + channel, sample(i))
    }
  }
}

const writers = new Map<number, (plane: Buffer, index: number, value: number) => void>([
  [AV_SAMPLE_FMT_S16, (plane, i, value) => plane.writeInt16LE(Math.round(value * 32_767), i * 2)],
  [AV_SAMPLE_FMT_S16P, (plane, i, value) => plane.writeInt16LE(Math.round(value * 32_767), i * 2)],
  [AV_SAMPLE_FMT_S32, (plane, i, value) => plane.writeInt32LE(Math.round(value * 2_147_483_647), i * 4)],
  [AV_SAMPLE_FMT_FLT, (plane, i, value) => plane.writeFloatLE(value, i * 4)],
  [AV_SAMPLE_FMT_FLTP, (plane, i, value) => plane.writeFloatLE(value, i * 4)],
])

function encode(encoder: CodecContext, frame: Frame | null): Packet[] {
  const packets: Packet[] = []
  check(encoder.sendFrameSync(frame), 'frame')
  for (;;) {
    const packet = new Packet()
    packet.alloc()
    if (encoder.receivePacketSync(packet) < 0) {
      packet.free()
      return packets
    }
    packets.push(packet)
  }
}

function check(result: number | void, what: string): void {
  if (typeof result === 'number' && result < 0) throw new Error(`${what}: ${FFmpegError.strerror(result)}`)
}
