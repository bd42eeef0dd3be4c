/**
 * A source string to a medium, within limits.
 *
 * In: an http(s) URL or data URI and the limits of the API model. Out: contract media with their facts; pixels and
 * samples on request. Errors: {@link MediaError} only. A loader owns a pool of decoder processes and a private
 * temporary folder; disposing it ends and deletes them.
 */
import { rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import type {
  AudioFacts,
  AudioMedium,
  ImageFacts,
  ImageMedium,
  MonoPcm,
  RgbImage,
  VideoFacts,
  VideoFrames,
  VideoMedium,
} from '../contract/index.ts'
import { ArrivingSamples } from './audio/arriving-samples.ts'
import { audioRate } from './audio/rate.ts'
import type { VideoFacts as DecodedVideoFacts, DecoderReply, DoneHeader, ImageHeader } from './decoder/messages.ts'
import { DecoderPool, type JobRequest, type PoolStatus } from './decoder/pool.ts'
import { abortedError, MediaError, type MediaKind, type SourceKind, withOrigin } from './errors.ts'
import { FetchedFile } from './fetched-file.ts'
import { HostAllowList } from './fetch/address.ts'
import { download, type DownloadTimeouts } from './fetch/download.ts'
import { Gate } from './fetch/gate.ts'
import type { Resolver } from './fetch/resolve.ts'
import { resourceError } from './fetch/resources.ts'
import { makeSpoolDirectory, Spool } from './fetch/spool.ts'
import { frameList, openFrames, videoBytes } from './frame-list.ts'
import {
  type AudioLimits,
  defaultAudioLimits,
  defaultImageLimits,
  defaultVideoLimits,
  fillLimits,
  type ImageLimits,
  type VideoLimits,
} from './limits.ts'
import { MemoryBudget } from './memory-budget.ts'
import { openedMedium, type OpenedAudio, type OpenedImage, type OpenedVideo, type Outcome } from './opened-medium.ts'
import { expectKind, sniff, sniffLength } from './sniff.ts'
import { parseSource } from './source.ts'

export interface MediaLoaderOptions {
  /** `HOST` or `HOST:PORT`, fetched whatever their address. */
  readonly allowHosts?: readonly string[]
  /** Most decoder processes. Default: two to four, by the machine. */
  readonly workers?: number
  /** Media parts that may wait for a decoder; more are refused with `overloaded`. Default 256. */
  readonly maxWaiting?: number
  /** Most concurrent downloads; further ones wait. Default 32. */
  readonly maxDownloads?: number
  /** Wall time of one decoding, milliseconds. Default 60 000. */
  readonly decodeTimeoutMs?: number
  /** Resident memory of one decoder process, bytes. Default 1 GiB. */
  readonly decodeMemoryBytes?: number
  /** Most bytes of decoded media; further media wait. Default 512 MiB. */
  readonly decodedBytes?: number
  /** A decoder process is replaced after this many files. Default 500. */
  readonly jobsPerWorker?: number
  /** An idle decoder process ends after this long, milliseconds. Default 120 000. */
  readonly workerIdleMs?: number
  /** Defaults: 10 s to connect, 10 s of silence, 120 s in all. */
  readonly downloadTimeouts?: Partial<DownloadTimeouts>
  /** Default 5. */
  readonly maxRedirects?: number
  /** Folder for large downloads while they are decoded. Default: the system's temporary folder. */
  readonly temporaryDirectory?: string
  /** Name resolution; tests inject one. */
  readonly resolve?: Resolver
}

export interface MediaLoader extends AsyncDisposable {
  /** One image. @throws MediaError */
  image(source: string, limits?: ImageLimits, signal?: AbortSignal): Promise<OpenedImage>
  /** One audio, 16 kHz mono once decoded. @throws MediaError */
  audio(source: string, limits?: AudioLimits, signal?: AbortSignal): Promise<OpenedAudio>
  /** A video: frames sampled as Qwen's processor does, and its audio track. @throws MediaError */
  video(source: string, limits?: VideoLimits, signal?: AbortSignal): Promise<OpenedVideo>
  /**
   * A video given as images. `limits` are the image's, and of the video's `minFrames`, `maxFrames` and `fps` (the rate
   * the list stands for). Frames after the first take the first one's size. @throws MediaError with `index`
   */
  frames(sources: readonly string[], limits?: FrameListLimits, signal?: AbortSignal): Promise<OpenedVideo>
  /** Live values for `/metrics`. */
  status(): LoaderStatus
}

export type FrameListLimits = ImageLimits & Pick<VideoLimits, 'minFrames' | 'maxFrames' | 'fps' | 'maxTotalPixels'>

export interface LoaderStatus extends PoolStatus {
  readonly downloads: number
  /** Bytes of decoded media in memory. */
  readonly decodedBytes: number
}

/** Starts a loader. Nothing is spawned before the first file. @throws TypeError on a malformed `allowHosts` entry */
export function createMediaLoader(options: MediaLoaderOptions = {}): MediaLoader {
  return new Loader(options)
}

class Loader implements MediaLoader {
  readonly #options: MediaLoaderOptions
  readonly #allow: HostAllowList
  readonly #pool: DecoderPool
  readonly #closing = new AbortController()
  readonly #downloads: Gate
  readonly #budget: MemoryBudget
  #directory: Promise<string> | undefined

  constructor(options: MediaLoaderOptions) {
    this.#options = options
    this.#allow = new HostAllowList(options.allowHosts)
    this.#downloads = new Gate(options.maxDownloads ?? 32)
    this.#budget = new MemoryBudget(options.decodedBytes ?? 512 * 1024 ** 2)
    this.#pool = new DecoderPool({
      workers: options.workers ?? Math.min(4, Math.max(2, availableParallelism())),
      maxWaiting: options.maxWaiting ?? 256,
      timeoutMs: options.decodeTimeoutMs ?? 60_000,
      memoryBytes: options.decodeMemoryBytes ?? 1024 ** 3,
      jobsPerWorker: options.jobsPerWorker ?? 500,
      idleMs: options.workerIdleMs ?? 120_000,
    })
  }

  image(source: string, limits: ImageLimits = {}, signal?: AbortSignal): Promise<OpenedImage> {
    return this.#image(source, limits, this.#budget, signal)
  }

  #image(
    source: string,
    given: ImageLimits,
    budget: MemoryBudget,
    signal: AbortSignal | undefined,
  ): Promise<OpenedImage> {
    const limits = fillLimits(given, defaultImageLimits)
    const kind = 'image'
    return this.#open(source, kind, limits, signal, async (file) => {
      let facts: ImageFacts | undefined
      await this.#run(file, { kind, limits, probe: true }, file.signal, ({ header }) => {
        if (header.type === 'image') facts = imageFacts(header)
      })
      const { width, height } = facts!
      return openedMedium<ImageMedium>({
        ...common(file, budget),
        kind,
        facts: facts!,
        exact: true,
        bytes: width * height * 3,
        warnings: [],
        decode: async (stop) => {
          let outcome: Outcome<ImageMedium> | undefined
          await this.#run(file, { kind, limits }, stop, ({ header, payload }) => {
            if (header.type !== 'image') return
            const decoded = { width: header.width, height: header.height, data: payload }
            outcome = { decoded, facts: imageFacts(header), warnings: [] }
          })
          return outcome!
        },
      })
    })
  }

  async audio(source: string, given: AudioLimits = {}, signal?: AbortSignal): Promise<OpenedAudio> {
    const limits = fillLimits(given, defaultAudioLimits)
    const kind = 'audio'
    return this.#open(source, kind, limits, signal, async (file) => {
      const decode = async (stop: AbortSignal): Promise<Outcome<AudioMedium>> => {
        const samples = new ArrivingSamples(facts.samples)
        let warnings: readonly string[] = []
        await this.#run(file, { kind, limits }, stop, ({ header, payload }) => {
          if (header.type === 'pcm') samples.push(payload)
          else if (header.type === 'done') warnings = header.warnings
        })
        const decoded = samples.pcm
        return { decoded, facts: audioFacts(decoded), warnings }
      }
      const probed = await this.#probe(file, { kind, limits, probe: true })
      const facts = { sampleRate: audioRate, samples: Math.max(1, Math.round(probed.audioSeconds! * audioRate)) }
      return openedMedium<AudioMedium>({
        ...common(file, this.#budget),
        kind,
        facts,
        exact: false,
        bytes: facts.samples * 4,
        warnings: probed.warnings,
        decode,
      })
    })
  }

  async video(source: string, given: VideoLimits = {}, signal?: AbortSignal): Promise<OpenedVideo> {
    const limits = fillLimits(given, defaultVideoLimits)
    const kind = 'video'
    return this.#open(source, kind, limits, signal, async (file) => {
      const decode = async (stop: AbortSignal): Promise<Outcome<VideoMedium>> => {
        const frames: RgbImage[] = []
        const timestamps: number[] = []
        const samples = new ArrivingSamples(Math.min(facts.audio?.samples ?? 0, limits.maxDurationSeconds * audioRate))
        let done: DoneHeader | undefined
        await this.#run(file, { kind, limits }, stop, ({ header, payload }) => {
          if (header.type === 'frame') {
            frames.push({ width: header.width, height: header.height, data: payload })
            timestamps.push(header.timestamp)
          } else if (header.type === 'pcm') samples.push(payload)
          else if (header.type === 'done') done = header
        })
        const known = done!.video!
        const decoded = { frames, timestamps, fps: known.sampledFps, ...(!samples.empty && { audio: samples.pcm }) }
        return { decoded, facts: videoFacts(known, decoded), warnings: done!.warnings }
      }
      const probed = await this.#probe(file, { kind, limits, probe: true })
      const facts = statedFacts(probed)
      return openedMedium<VideoMedium>({
        ...common(file, this.#budget),
        kind,
        facts,
        exact: false,
        bytes: videoBytes(facts),
        warnings: probed.warnings,
        decode,
      })
    })
  }

  async frames(sources: readonly string[], given: FrameListLimits = {}, signal?: AbortSignal): Promise<OpenedVideo> {
    const least = given.minFrames ?? 2
    const most = given.maxFrames ?? defaultVideoLimits.maxFrames
    if (sources.length < least || sources.length > most) {
      const detail = `the range of sequence images shoule be (${least}, ${most}).`
      throw new MediaError(
        'video_frame_count',
        `A frame list holds ${least} to ${most} images; this one holds ${sources.length}.`,
        { kind: 'video', detail },
      )
    }
    const total = given.maxTotalPixels ?? defaultVideoLimits.maxTotalPixels
    const maxOutputPixels = Math.min(given.maxOutputPixels ?? Infinity, Math.floor(total / sources.length))
    const limits = { ...given, maxOutputPixels }
    // The list counts its frames as a whole.
    const uncounted = new MemoryBudget(Infinity)
    const images = await openFrames(sources, (source, stop) => this.#image(source, limits, uncounted, stop), signal)
    return frameList(images, given.fps ?? defaultVideoLimits.fps, this.#budget)
  }

  status(): LoaderStatus {
    return { ...this.#pool.status(), downloads: this.#downloads.active, decodedBytes: this.#budget.held }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#pool[Symbol.asyncDispose]()
    const directory = await this.#directory?.catch(() => undefined)
    if (directory !== undefined) await rm(directory, { recursive: true, force: true })
  }

  /** Fetches, then probes the file. Errors name the medium's origin. */
  async #open<T>(
    source: string,
    kind: MediaKind,
    limits: Required<Pick<ImageLimits, 'maxBytes' | 'dataUriMaxBytes'>>,
    caller: AbortSignal | undefined,
    look: (file: FetchedFile) => Promise<T>,
  ): Promise<T> {
    const signal = caller === undefined ? this.#closing.signal : AbortSignal.any([caller, this.#closing.signal])
    let from: SourceKind | undefined
    let file: FetchedFile | undefined
    try {
      if (signal.aborted) throw abortedError(signal)
      const parsed = parseSource(source, limits.dataUriMaxBytes)
      from = parsed.kind
      const spool =
        parsed.kind === 'data'
          ? await checkedBytes(parsed.bytes, kind, limits.maxBytes)
          : await this.#download(parsed.url, kind, limits.maxBytes, signal)
      file = new FetchedFile(spool, from, signal)
      if (spool.size === 0) throw empty(kind)
      await file.identify(JSON.stringify([kind, limits]))
      return await look(file)
    } catch (error) {
      await file?.[Symbol.asyncDispose]()
      const known = error instanceof MediaError ? error : resourceError(error)
      throw known ? withOrigin(known, { kind, source: from }) : error
    }
  }

  /** Headers and packets only. */
  async #probe(file: FetchedFile, job: WithoutInput<JobRequest>): Promise<DoneHeader> {
    let done: DoneHeader | undefined
    await this.#run(file, job, file.signal, ({ header }) => {
      if (header.type === 'done') done = header
    })
    return done!
  }

  async #run(
    file: FetchedFile,
    job: WithoutInput<JobRequest>,
    caller: AbortSignal,
    onReply: (reply: DecoderReply) => void,
  ): Promise<void> {
    const signal = AbortSignal.any([caller, this.#closing.signal])
    try {
      await this.#pool.run({ ...job, input: file.input() } as JobRequest, onReply, signal)
    } catch (error) {
      throw error instanceof MediaError ? withOrigin(error, { kind: job.kind, source: file.from }) : error
    }
  }

  async #download(url: URL, kind: MediaKind, maxBytes: number, signal: AbortSignal): Promise<Spool> {
    using _turn = await this.#downloads.enter(signal)
    this.#directory ??= makeSpoolDirectory(this.#options.temporaryDirectory ?? tmpdir())
    this.#directory.catch(() => (this.#directory = undefined)) // tried again by the next download
    return download(url, {
      allow: this.#allow,
      resolve: this.#options.resolve,
      timeouts: { connectMs: 10_000, idleMs: 10_000, totalMs: 120_000, ...this.#options.downloadTimeouts },
      maxRedirects: this.#options.maxRedirects ?? 5,
      maxBytes,
      directory: await this.#directory,
      onHead: async (head) => {
        if (head.length > 0) expectKind(await sniff(head), kind)
      },
      signal,
    })
  }
}

async function checkedBytes(bytes: Buffer, kind: MediaKind, maxBytes: number): Promise<Spool> {
  if (bytes.length > maxBytes) {
    throw new MediaError('too_large', `The media file has ${bytes.length} bytes; at most ${maxBytes} are taken.`)
  }
  if (bytes.length > 0) expectKind(await sniff(bytes.subarray(0, sniffLength)), kind)
  return Spool.of(bytes)
}

function empty(kind: MediaKind): MediaError {
  switch (kind) {
    case 'image':
      return new MediaError('image_illegal', 'The image file is empty.')
    case 'audio':
      return new MediaError('audio_empty', 'The audio file is empty.')
    case 'video':
      return new MediaError('video_invalid', 'The video file is empty.')
    default:
      return kind satisfies never
  }
}

type WithoutInput<T> = T extends unknown ? Omit<T, 'input'> : never

function common(file: FetchedFile, budget: MemoryBudget) {
  return {
    files: [file],
    contentKey: file.contentKey,
    budget,
    close: () => file[Symbol.asyncDispose](),
  }
}

function imageFacts({ width, height, sourceWidth, sourceHeight }: ImageHeader): ImageFacts {
  return { width, height, sourceWidth, sourceHeight }
}

function audioFacts({ sampleRate, samples }: MonoPcm): AudioFacts {
  return { sampleRate, samples: samples.length }
}

function videoFacts(known: DecodedVideoFacts, { frames, fps, audio }: VideoFrames): VideoFacts {
  const [first] = frames
  return {
    width: first?.width ?? 0,
    height: first?.height ?? 0,
    sourceWidth: known.width,
    sourceHeight: known.height,
    frames: frames.length,
    fps,
    seconds: known.durationSeconds,
    source: { frames: known.sourceFrameCount, fps: known.sourceFps },
    ...(audio && { audio: audioFacts(audio) }),
  }
}

/** By headers and packets. */
function statedFacts({ video, frames, audioSeconds = 0 }: DoneHeader): VideoFacts {
  return {
    width: frames!.width,
    height: frames!.height,
    sourceWidth: video!.width,
    sourceHeight: video!.height,
    frames: frames!.count,
    fps: video!.sampledFps,
    seconds: video!.durationSeconds,
    source: { frames: video!.sourceFrameCount, fps: video!.sourceFps },
    ...(audioSeconds > 0 && {
      audio: { sampleRate: audioRate, samples: Math.round(audioSeconds * audioRate) },
    }),
  }
}
