/**
 * Decodes one audio stream to 16 kHz mono floats with FFmpeg's decoder and resampler.
 *
 * In: packets of the stream. Out: pieces of samples in [-1, 1], in order, passed to `emit`. Timestamps decide where
 * samples are placed: a gap becomes silence, and samples before the start are dropped. Channels are mixed down with
 * FFmpeg's default weights, scaled to sum to one (for stereo: the mean). The sample rate and the channel layout may
 * change within a stream. Samples that are not finite become silence and are counted.
 */
import {
  AV_CHANNEL_ORDER_NATIVE,
  AV_CHANNEL_ORDER_UNSPEC,
  AV_NOPTS_VALUE,
  AV_SAMPLE_FMT_DBL,
  AV_SAMPLE_FMT_DBLP,
  AV_SAMPLE_FMT_FLT,
  AV_SAMPLE_FMT_FLTP,
  type AVSampleFormat,
} from 'node-av/constants'
import {
  avChannelLayoutDefault,
  type ChannelLayout,
  CodecContext,
  Frame,
  type Packet,
  SoftwareResampleContext,
  type Stream,
} from 'node-av/lib'
import { allowedDecoder, audioDecoders, codecName } from '../av/formats.ts'
import type { MediaInput } from '../av/input.ts'
import { type Rational, toSeconds } from '../av/time.ts'
import { audioRate } from './rate.ts'

/** A lower sample rate, in Hz, means a damaged header: resampling to 16 kHz would exhaust memory. */
export const minSampleRate = 1000
const maxSampleRate = 1_000_000

/** Samples per emitted piece: 256 KB. */
const pieceSamples = 65_536

/** A smaller difference between a timestamp and the samples so far is the codec's priming or rounding. Seconds. */
const minOffset = { atStart: 0.05, later: 0.1 } as const

/** How samples are placed in time. */
export interface Placement {
  /** Timestamp at which the output starts, seconds. Default: the first sample's timestamp. */
  readonly startTime?: number | undefined
  /** False where the container derives timestamps from byte counts: samples then follow one another without gaps. */
  readonly useTimestamps?: boolean
}

/** Containers without timestamps. FFmpeg counts their bytes or frames instead, so a gap cannot be detected. */
const withoutTimestamps: readonly string[] = [
  'avi',
  'wav',
  'w64',
  'aiff',
  'caf',
  'au',
  'mp3',
  'aac',
  'flac',
  'amr',
  'ac3',
  'eac3',
]

/** Whether the container stores timestamps, so that they give the position of its audio. */
export function hasTimestamps({ containerName }: MediaInput): boolean {
  return !containerName.split(',').some((name) => withoutTimestamps.includes(name))
}

export class AudioDecoder implements Disposable {
  readonly codecName: string
  /** Packets that the decoder rejected. */
  failedPackets = 0
  packets = 0
  /** Number of samples that were infinite or NaN. */
  nonFinite = 0
  /** Number of output samples so far, including those not yet emitted. */
  samples = 0
  readonly #context: CodecContext
  readonly #frame: Frame
  readonly #emit: (piece: Float32Array) => void
  #resampler: SoftwareResampleContext | undefined
  #inputFormat = ''
  #piece = new Float32Array(pieceSamples)
  #filled = 0
  #output = Buffer.alloc(0)

  readonly #timeBase: Rational
  readonly #useTimestamps: boolean
  #startTime: number | undefined
  /** Position of the next output sample, counted from the start. Negative before the start: those are dropped. */
  #cursor: number | undefined

  /** @throws Error when there is no allowed decoder for the stream, or it does not open */
  constructor(
    stream: Stream,
    emit: (piece: Float32Array) => void,
    { startTime, useTimestamps = true }: Placement = {},
  ) {
    const codec = allowedDecoder(stream.codecpar.codecId, audioDecoders)
    this.codecName = codecName(stream.codecpar)
    if (codec === undefined) throw new Error(`no decoder for ${this.codecName} audio`)
    this.#emit = emit
    const { num, den } = stream.timeBase
    this.#timeBase = { num, den }
    this.#startTime = startTime
    this.#useTimestamps = useTimestamps
    this.#context = new CodecContext()
    this.#context.allocContext3(codec)
    this.#context.parametersToContext(stream.codecpar)
    this.#context.pktTimebase = stream.timeBase
    this.#context.threadCount = 1
    this.#context.setOption('max_samples', 1_048_576) // not as open options: freeing those crashes
    if (this.#context.open2Sync(codec, null) < 0) {
      this.#context.freeContext()
      throw new Error(`the ${this.codecName} decoder does not accept this audio`)
    }
    this.#frame = new Frame()
    this.#frame.alloc()
  }

  /** Decodes one packet; an invalid one is counted and skipped. */
  push(packet: Packet): void {
    this.packets += 1
    if (this.#context.sendPacketSync(packet) < 0) this.failedPackets += 1
    this.#receive()
  }

  /** Emits the samples that are still in the decoder and the resampler. */
  flush(): void {
    this.#context.sendPacketSync(null)
    this.#receive()
    this.#flushResampler()
    if (this.#filled > 0) this.#emit(this.#piece.slice(0, this.#filled))
    this.#filled = 0
  }

  [Symbol.dispose](): void {
    this.#resampler?.free()
    this.#frame.free()
    this.#context.freeContext()
  }

  #receive(): void {
    while (this.#context.receiveFrameSync(this.#frame) >= 0) {
      this.#convert(this.#frame)
      this.#frame.unref()
    }
  }

  #convert(frame: Frame): void {
    const { sampleRate, channelLayout, nbSamples } = frame
    const format = frame.format as AVSampleFormat
    const planes = frame.extendedData
    if (nbSamples <= 0 || planes === null || sampleRate < minSampleRate || sampleRate > maxSampleRate) {
      this.failedPackets += 1
      return
    }
    this.#zeroNonFinite(planes, format)
    const inputFormat = `${sampleRate} ${format} ${channelLayout.nbChannels} ${channelLayout.mask}`
    if (inputFormat !== this.#inputFormat) this.#flushResampler()
    if (this.#useTimestamps || this.#cursor === undefined) {
      this.#place(toSeconds(frame.pts === AV_NOPTS_VALUE ? frame.bestEffortTimestamp : frame.pts, this.#timeBase))
    }
    this.#resampler ??= createResampler(channelLayout, format, sampleRate)
    this.#inputFormat = inputFormat
    this.#resample(planes, nbSamples)
  }

  /** Moves the cursor to the position of a frame that begins at `time` (seconds): inserts silence for a gap. */
  #place(time: number | undefined): void {
    if (time === undefined) return
    this.#startTime ??= time
    const position = (time - this.#startTime) * audioRate
    if (this.#cursor === undefined) {
      const shifted = Math.abs(position) >= minOffset.atStart * audioRate
      if (!shifted) this.#startTime = time
      this.#cursor = shifted && position < 0 ? Math.round(position) : 0
      if (shifted && position > 0) this.#appendSilence(position)
      return
    }
    const smallestGap = minOffset.later * audioRate
    const gap = position - this.#cursor
    if (gap < smallestGap) return
    if (gap - Number(this.#resampler?.getDelay(BigInt(audioRate)) ?? 0) < smallestGap) return
    this.#flushResampler()
    this.#appendSilence(position - this.#cursor)
  }

  #appendSilence(samples: number): void {
    if (samples >= 1) this.#append(new Float32Array(Math.round(samples)))
  }

  #resample(planes: Buffer[] | null, count: number): number {
    const resampler = this.#resampler!
    const capacity = Math.max(resampler.getOutSamples(count), 256)
    if (this.#output.length < capacity * 4) this.#output = Buffer.alloc(capacity * 4)
    const converted = resampler.convertSync([this.#output], capacity, planes, count)
    if (converted < 0) {
      this.failedPackets += 1
      return 0
    }
    if (converted > 0) this.#append(new Float32Array(this.#output.buffer, this.#output.byteOffset, converted))
    return converted
  }

  /** Appends the samples left in the resampler's filter and frees the resampler. */
  #flushResampler(): void {
    if (this.#resampler === undefined) return
    while (this.#resample(null, 0) > 0);
    this.#resampler.free()
    this.#resampler = undefined
  }

  #append(converted: Float32Array): void {
    const cursor = this.#cursor ?? 0
    this.#cursor = cursor + converted.length
    const samples = cursor < 0 ? converted.subarray(Math.min(converted.length, -cursor)) : converted
    let piece = this.#piece
    let filled = this.#filled
    for (let i = 0; i < samples.length; i += 1) {
      const sample = samples[i]!
      piece[filled] = sample > 1 ? 1 : sample < -1 ? -1 : sample === sample ? sample : this.#countNonFinite()
      filled += 1
      if (filled === pieceSamples) {
        this.#emit(piece)
        piece = new Float32Array(pieceSamples)
        filled = 0
      }
    }
    this.#piece = piece
    this.#filled = filled
    this.samples += samples.length
  }

  #countNonFinite(): number {
    this.nonFinite += 1
    return 0
  }

  /** Sets non-finite input to zero, because the resampler's filter would spread it over the neighbouring samples. */
  #zeroNonFinite(planes: readonly Buffer[], format: AVSampleFormat): void {
    const double = format === AV_SAMPLE_FMT_DBL || format === AV_SAMPLE_FMT_DBLP
    if (!double && format !== AV_SAMPLE_FMT_FLT && format !== AV_SAMPLE_FMT_FLTP) return
    for (const { buffer, byteOffset, byteLength } of planes) {
      const values = double
        ? new Float64Array(buffer, byteOffset, Math.floor(byteLength / 8))
        : new Float32Array(buffer, byteOffset, Math.floor(byteLength / 4))
      for (let i = 0; i < values.length; i += 1) {
        if (Number.isFinite(values[i]!)) continue
        values[i] = 0
        this.nonFinite += 1
      }
    }
  }
}

function createResampler(layout: ChannelLayout, format: AVSampleFormat, rate: number): SoftwareResampleContext {
  const mono = avChannelLayoutDefault(1)
  const channels = Math.max(1, layout.nbChannels)
  const input = layout.order === AV_CHANNEL_ORDER_UNSPEC ? avChannelLayoutDefault(channels) : layout
  const resampler = new SoftwareResampleContext()
  const set = resampler.allocSetOpts2(mono, AV_SAMPLE_FMT_FLT, audioRate, input, format, rate)
  // For floats FFmpeg lets a mix exceed full scale. This makes the weights sum to one (for stereo: the mean).
  resampler.setOption('rematrix_maxval', 1)
  if (set >= 0 && input.order === AV_CHANNEL_ORDER_NATIVE && resampler.init() >= 0) return resampler
  resampler.free()
  // FFmpeg has no weights for some layouts (discrete channels, ambisonics): the mean of all channels is used.
  const averaging = new SoftwareResampleContext()
  const unknown = { nbChannels: channels, order: AV_CHANNEL_ORDER_UNSPEC, mask: 0n }
  if (averaging.allocSetOpts2(mono, AV_SAMPLE_FMT_FLT, audioRate, unknown, format, rate) < 0) {
    throw new Error(`audio with ${channels} channels at ${rate} Hz cannot be resampled`)
  }
  averaging.setMatrix(
    Array.from({ length: channels }, () => 1 / channels),
    channels,
  )
  if (averaging.init() < 0) {
    averaging.free()
    throw new Error(`audio with ${channels} channels at ${rate} Hz cannot be resampled`)
  }
  return averaging
}
