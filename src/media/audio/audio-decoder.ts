/**
 * One audio stream to 16 kHz mono floats: FFmpeg's decoder and resampler.
 *
 * In: packets of the stream. Out: pieces of samples in [-1, 1], in order, passed to `emit`. Samples are placed by their
 * time stamps: a gap becomes silence, what comes before the start is left out. Channels are mixed down with FFmpeg's
 * usual weights, summing to one (the mean, for stereo); rates and layouts may change within a stream; samples that are
 * not finite become silence and are counted.
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
import { type RationalLike, seconds } from '../av/time.ts'
import { audioRate } from './rate.ts'

/** Rates below this are damaged headers: resampling them up would exhaust memory. */
export const minRate = 1000
const maxRate = 1_000_000

/** Samples per emitted piece: 256 KB. */
const pieceSamples = 65_536

/** Time stamps and samples that differ by less are a codec's priming or rounding. Seconds. */
const leastOffset = { atStart: 0.05, within: 0.1 } as const

/** How samples are placed in time. */
export interface Placement {
  /** The start on the packets' clock, seconds; by default the first sample's time. */
  readonly zero?: number | undefined
  /** False where the container derives its times from byte counts: samples then follow one another. */
  readonly byTime?: boolean
}

/** Containers that count bytes or frames instead of carrying times: a gap in them cannot be detected. */
const timeless: readonly string[] = [
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

/** Whether a container's time stamps give the position of its audio. */
export function timesAreKept({ containerName }: MediaInput): boolean {
  return !containerName.split(',').some((name) => timeless.includes(name))
}

export class AudioDecoder implements Disposable {
  readonly codecName: string
  /** Packets that the decoder rejected. */
  failedPackets = 0
  packets = 0
  /** Samples that were infinite or not a number. */
  nonFinite = 0
  /** Samples emitted or about to be. */
  samples = 0
  readonly #context: CodecContext
  readonly #frame: Frame
  readonly #emit: (piece: Float32Array) => void
  #resampler: SoftwareResampleContext | undefined
  #input = ''
  #piece = new Float32Array(pieceSamples)
  #filled = 0
  #output = Buffer.alloc(0)

  readonly #timeBase: RationalLike
  readonly #byTime: boolean
  #zero: number | undefined
  /** Position of the resampler's next sample, samples from the start; what comes before the start is dropped. */
  #cursor: number | undefined

  /** @throws Error when there is no allowed decoder for the stream, or it does not open */
  constructor(stream: Stream, emit: (piece: Float32Array) => void, { zero, byTime = true }: Placement = {}) {
    const codec = allowedDecoder(stream.codecpar.codecId, audioDecoders)
    this.codecName = codecName(stream.codecpar)
    if (codec === undefined) throw new Error(`no decoder for ${this.codecName} audio`)
    this.#emit = emit
    const { num, den } = stream.timeBase
    this.#timeBase = { num, den }
    this.#zero = zero
    this.#byTime = byTime
    this.#context = new CodecContext()
    this.#context.allocContext3(codec)
    this.#context.parametersToContext(stream.codecpar)
    this.#context.pktTimebase = stream.timeBase
    this.#context.threadCount = 1
    this.#context.setOption('max_samples', 1_048_576) // not as open options: freeing those crashes
    if (this.#context.open2Sync(codec, null) < 0) {
      this.#context.freeContext()
      throw new Error(`the ${this.codecName} decoder does not take this audio`)
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

  /** The rest in decoder and resampler. */
  flush(): void {
    this.#context.sendPacketSync(null)
    this.#receive()
    this.#drain()
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
    if (nbSamples <= 0 || planes === null || sampleRate < minRate || sampleRate > maxRate) {
      this.failedPackets += 1
      return
    }
    this.#scrub(planes, format)
    const input = `${sampleRate} ${format} ${channelLayout.nbChannels} ${channelLayout.mask}`
    if (input !== this.#input) this.#drain()
    if (this.#byTime || this.#cursor === undefined) {
      this.#place(seconds(frame.pts === AV_NOPTS_VALUE ? frame.bestEffortTimestamp : frame.pts, this.#timeBase))
    }
    this.#resampler ??= createResampler(channelLayout, format, sampleRate)
    this.#input = input
    this.#resample(planes, nbSamples)
  }

  /** Moves the cursor to the position of a frame that begins at `time`. */
  #place(time: number | undefined): void {
    if (time === undefined) return
    this.#zero ??= time
    const at = (time - this.#zero) * audioRate
    if (this.#cursor === undefined) {
      const shifted = Math.abs(at) >= leastOffset.atStart * audioRate
      if (!shifted) this.#zero = time
      this.#cursor = shifted && at < 0 ? Math.round(at) : 0
      if (shifted && at > 0) this.#silence(at)
      return
    }
    const least = leastOffset.within * audioRate
    if (at - this.#cursor < least) return
    if (at - this.#cursor - Number(this.#resampler?.getDelay(BigInt(audioRate)) ?? 0) < least) return
    this.#drain()
    this.#silence(at - this.#cursor)
  }

  #silence(samples: number): void {
    if (samples >= 1) this.#take(new Float32Array(Math.round(samples)))
  }

  #resample(planes: Buffer[] | null, count: number): number {
    const resampler = this.#resampler!
    const capacity = Math.max(resampler.getOutSamples(count), 256)
    if (this.#output.length < capacity * 4) this.#output = Buffer.alloc(capacity * 4)
    const made = resampler.convertSync([this.#output], capacity, planes, count)
    if (made < 0) {
      this.failedPackets += 1
      return 0
    }
    if (made > 0) this.#take(new Float32Array(this.#output.buffer, this.#output.byteOffset, made))
    return made
  }

  /** Ends the current resampler and takes the samples left in its filter. */
  #drain(): void {
    if (this.#resampler === undefined) return
    while (this.#resample(null, 0) > 0);
    this.#resampler.free()
    this.#resampler = undefined
  }

  #take(given: Float32Array): void {
    const cursor = this.#cursor ?? 0
    this.#cursor = cursor + given.length
    const samples = cursor < 0 ? given.subarray(Math.min(given.length, -cursor)) : given
    let piece = this.#piece
    let filled = this.#filled
    for (let i = 0; i < samples.length; i += 1) {
      const sample = samples[i]!
      piece[filled] = sample > 1 ? 1 : sample < -1 ? -1 : sample === sample ? sample : this.#notANumber()
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

  #notANumber(): number {
    this.nonFinite += 1
    return 0
  }

  /** Makes float input finite before the resampler's filter spreads one bad sample over its neighbours. */
  #scrub(planes: readonly Buffer[], format: AVSampleFormat): void {
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
  const given = layout.order === AV_CHANNEL_ORDER_UNSPEC ? avChannelLayoutDefault(channels) : layout
  const resampler = new SoftwareResampleContext()
  const set = resampler.allocSetOpts2(mono, AV_SAMPLE_FMT_FLT, audioRate, given, format, rate)
  // Between floats FFmpeg lets a mix exceed full scale; this makes the weights sum to one (stereo: the mean).
  resampler.setOption('rematrix_maxval', 1)
  if (set >= 0 && given.order === AV_CHANNEL_ORDER_NATIVE && resampler.init() >= 0) return resampler
  resampler.free()
  // A layout for which FFmpeg has no weights (many discrete channels, ambisonics): the mean of all channels.
  const plain = new SoftwareResampleContext()
  const unknown = { nbChannels: channels, order: AV_CHANNEL_ORDER_UNSPEC, mask: 0n }
  if (plain.allocSetOpts2(mono, AV_SAMPLE_FMT_FLT, audioRate, unknown, format, rate) < 0) {
    throw new Error(`audio with ${channels} channels at ${rate} Hz cannot be resampled`)
  }
  plain.setMatrix(
    Array.from({ length: channels }, () => 1 / channels),
    channels,
  )
  if (plain.init() < 0) {
    plain.free()
    throw new Error(`audio with ${channels} channels at ${rate} Hz cannot be resampled`)
  }
  return plain
}
