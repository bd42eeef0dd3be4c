/**
 * Opens media sources within a model's limits.
 *
 * In: an http(s) URL or data URI, and limits. Out: contract media with their facts, which decode to pixels and samples
 * on request. Errors: {@link MediaError} only. A loader owns a pool of decoder processes and a {@link Fetcher};
 * disposing the loader disposes them.
 */
import { availableParallelism } from 'node:os'
import type { AudioMedium, ImageFacts, ImageMedium, RgbImage, VideoMedium } from '../contract/index.ts'
import { audioRate } from './audio/rate.ts'
import { SampleBuffer } from './audio/sample-buffer.ts'
import type { DecoderReply, DoneHeader } from './decoder/messages.ts'
import { DecoderPool, type JobRequest, type PoolStatus } from './decoder/pool.ts'
import { MediaError, type MediaKind, withOrigin } from './errors.ts'
import { Fetcher, type FetcherOptions, type FileLimits } from './fetch/fetcher.ts'
import { resourceError } from './fetch/resources.ts'
import type { FetchedFile } from './fetched-file.ts'
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
import { audioFacts, imageFacts, probedVideoFacts, videoFacts } from './media-facts.ts'
import {
  type DecodeResult,
  openedMedium,
  type OpenedAudio,
  type OpenedImage,
  type OpenedVideo,
} from './opened-medium.ts'
import { Semaphore } from './semaphore.ts'

export interface MediaLoaderOptions extends FetcherOptions {
  /** Most decoder processes. Default: two to four, depending on the number of CPUs. */
  readonly workers?: number
  /** Media parts that may wait for a decoder; more are refused with `overloaded`. Default 256. */
  readonly maxWaiting?: number
  /** Wall time of one decoding, milliseconds. Default 60 000. */
  readonly decodeTimeoutMs?: number
  /** Resident memory of one decoder process, bytes. Default 1 GiB. */
  readonly decodeMemoryBytes?: number
  /** Most bytes of decoded media in memory; further media wait. Default 512 MiB. */
  readonly decodedBytes?: number
  /** A decoder process is replaced after this many jobs. Default 500. */
  readonly jobsPerWorker?: number
  /** An idle decoder process ends after this long, milliseconds. Default 120 000. */
  readonly workerIdleMs?: number
}

export interface MediaLoader extends AsyncDisposable {
  /** One image. @throws MediaError */
  image(source: string, limits?: ImageLimits, signal?: AbortSignal): Promise<OpenedImage>
  /** One audio file, which decodes to 16 kHz mono. @throws MediaError */
  audio(source: string, limits?: AudioLimits, signal?: AbortSignal): Promise<OpenedAudio>
  /** One video: frames sampled as in Qwen's processor, and its audio track. @throws MediaError */
  video(source: string, limits?: VideoLimits, signal?: AbortSignal): Promise<OpenedVideo>
  /**
   * A video given as a list of images. `fps` is the frame rate of the list. Frames of another size are scaled to the
   * first one's.
   *
   * @throws MediaError with `index`
   */
  frames(sources: readonly string[], limits?: FrameListLimits, signal?: AbortSignal): Promise<OpenedVideo>
  /** Live values for `/metrics`. */
  status(): LoaderStatus
}

export type FrameListLimits = ImageLimits & Pick<VideoLimits, 'minFrames' | 'maxFrames' | 'fps' | 'maxTotalPixels'>

export interface LoaderStatus extends PoolStatus {
  /** Running downloads. */
  readonly downloads: number
  /** Bytes of decoded media in memory. */
  readonly decodedBytes: number
}

/** Creates a loader. It starts no process before the first file. @throws TypeError on a malformed `allowHosts` entry */
export function createMediaLoader(options: MediaLoaderOptions = {}): MediaLoader {
  return new Loader(options)
}

class Loader implements MediaLoader {
  readonly #pool: DecoderPool
  readonly #closing = new AbortController()
  readonly #fetcher: Fetcher
  /** Bytes of decoded media. */
  readonly #budget: Semaphore

  constructor(options: MediaLoaderOptions) {
    this.#fetcher = new Fetcher(options)
    this.#budget = new Semaphore(options.decodedBytes ?? 512 * 1024 ** 2)
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

  #image(source: string, given: ImageLimits, budget: Semaphore, signal: AbortSignal | undefined): Promise<OpenedImage> {
    const limits = fillLimits(given, defaultImageLimits)
    const kind = 'image'
    return this.#open(source, kind, limits, signal, async (file) => {
      let facts: ImageFacts | undefined
      await this.#run(file, { kind, limits, probe: true }, file.signal, ({ header }) => {
        if (header.type === 'image') facts = imageFacts(header)
      })
      const { width, height } = facts!
      return openedMedium<ImageMedium>({
        ...commonProperties(file, budget),
        kind,
        facts: facts!,
        exact: true,
        bytes: width * height * 3,
        warnings: [],
        decode: async (stop) => {
          let result: DecodeResult<ImageMedium> | undefined
          await this.#run(file, { kind, limits }, stop, ({ header, payload }) => {
            if (header.type !== 'image') return
            const decoded = { width: header.width, height: header.height, data: payload }
            result = { decoded, facts: imageFacts(header), warnings: [] }
          })
          return result!
        },
      })
    })
  }

  async audio(source: string, given: AudioLimits = {}, signal?: AbortSignal): Promise<OpenedAudio> {
    const limits = fillLimits(given, defaultAudioLimits)
    const kind = 'audio'
    return this.#open(source, kind, limits, signal, async (file) => {
      const decode = async (stop: AbortSignal): Promise<DecodeResult<AudioMedium>> => {
        const samples = new SampleBuffer(facts.samples)
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
        ...commonProperties(file, this.#budget),
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
      const decode = async (stop: AbortSignal): Promise<DecodeResult<VideoMedium>> => {
        const frames: RgbImage[] = []
        const timestamps: number[] = []
        const samples = new SampleBuffer(Math.min(facts.audio?.samples ?? 0, limits.maxDurationSeconds * audioRate))
        let done: DoneHeader | undefined
        await this.#run(file, { kind, limits }, stop, ({ header, payload }) => {
          if (header.type === 'frame') {
            frames.push({ width: header.width, height: header.height, data: payload })
            timestamps.push(header.timestamp)
          } else if (header.type === 'pcm') samples.push(payload)
          else if (header.type === 'done') done = header
        })
        const reported = done!.video!
        const decoded = { frames, timestamps, fps: reported.sampledFps, ...(!samples.empty && { audio: samples.pcm }) }
        return { decoded, facts: videoFacts(reported, decoded), warnings: done!.warnings }
      }
      const probed = await this.#probe(file, { kind, limits, probe: true })
      const facts = probedVideoFacts(probed)
      return openedMedium<VideoMedium>({
        ...commonProperties(file, this.#budget),
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
    const minFrames = given.minFrames ?? 2
    const maxFrames = given.maxFrames ?? defaultVideoLimits.maxFrames
    if (sources.length < minFrames || sources.length > maxFrames) {
      const detail = `the range of sequence images shoule be (${minFrames}, ${maxFrames}).`
      throw new MediaError(
        'video_frame_count',
        `A frame list must have ${minFrames} to ${maxFrames} images; this one has ${sources.length}.`,
        { kind: 'video', detail },
      )
    }
    const totalPixels = given.maxTotalPixels ?? defaultVideoLimits.maxTotalPixels
    const maxOutputPixels = Math.min(given.maxOutputPixels ?? Infinity, Math.floor(totalPixels / sources.length))
    const limits = { ...given, maxOutputPixels }
    // `frameList` counts the frames of the list together.
    const unlimited = new Semaphore(Infinity)
    const images = await openFrames(sources, (source, stop) => this.#image(source, limits, unlimited, stop), signal)
    return frameList(images, given.fps ?? defaultVideoLimits.fps, this.#budget)
  }

  status(): LoaderStatus {
    return { ...this.#pool.status(), downloads: this.#fetcher.activeDownloads, decodedBytes: this.#budget.held }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#pool[Symbol.asyncDispose]()
    await this.#fetcher[Symbol.asyncDispose]()
  }

  /** Fetches a file and probes it. Errors have the medium's kind and source. */
  async #open<T>(
    source: string,
    kind: MediaKind,
    limits: FileLimits,
    caller: AbortSignal | undefined,
    probe: (file: FetchedFile) => Promise<T>,
  ): Promise<T> {
    const signal = caller === undefined ? this.#closing.signal : AbortSignal.any([caller, this.#closing.signal])
    const file = await this.#fetcher.fetch(source, kind, limits, signal)
    try {
      return await probe(file)
    } catch (error) {
      await file[Symbol.asyncDispose]()
      const mediaError = error instanceof MediaError ? error : resourceError(error)
      throw mediaError ? withOrigin(mediaError, { kind, source: file.from }) : error
    }
  }

  /** Reads headers and packets without decoding. */
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
}

type WithoutInput<T> = T extends unknown ? Omit<T, 'input'> : never

function commonProperties(file: FetchedFile, budget: Semaphore) {
  return {
    files: [file],
    contentKey: file.contentKey,
    budget,
    close: () => file[Symbol.asyncDispose](),
  }
}
