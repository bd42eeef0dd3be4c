/**
 * The media room's front: a source string to pixels or samples, within limits.
 *
 * In: an http(s) URL or data URI and the limits of the API model. Out: what an engine takes (`RgbImage`, `MonoPcm`,
 * `VideoFrames`) and the facts accounting needs. Errors: {@link MediaError} only. A loader owns a pool of decoder
 * processes and a private temporary folder; disposing of it ends and deletes them.
 */
import { rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import type { MonoPcm, RgbImage, VideoFrames } from '../contract/index.ts'
import { soundRate } from './audio/rate.ts'
import type { DecoderReply, ImageHeader, VideoFacts } from './decoder/messages.ts'
import { DecoderPool, type JobRequest, type PoolStatus } from './decoder/pool.ts'
import { abortedError, MediaError, type MediaKind, withOrigin } from './errors.ts'
import { HostAllowList } from './fetch/address.ts'
import { download, type DownloadTimeouts } from './fetch/download.ts'
import type { Resolver } from './fetch/resolve.ts'
import { makeSpoolDirectory, Spool } from './fetch/spool.ts'
import {
  type AudioLimits,
  defaultAudioLimits,
  defaultImageLimits,
  defaultVideoLimits,
  fillLimits,
  type ImageLimits,
  type VideoLimits,
} from './limits.ts'
import { expectKind, sniff, sniffLength } from './sniff.ts'
import { parseSource } from './source.ts'

export interface MediaLoaderOptions {
  /** `HOST` or `HOST:PORT`, fetched whatever their address. */
  readonly allowHosts?: readonly string[]
  /** Most decoder processes. Default: two to four, by the machine. */
  readonly workers?: number
  /** Media parts that may wait for a decoder; more are refused with `overloaded`. Default 256. */
  readonly maxWaiting?: number
  /** Downloads running at once; more wait. Default 32. */
  readonly maxDownloads?: number
  /** Wall time of one decoding, milliseconds. Default 60 000. */
  readonly decodeTimeoutMs?: number
  /** Resident memory of one decoder process, bytes. Default 1 GiB. */
  readonly decodeMemoryBytes?: number
  /** A decoder process is replaced after this many files. Default 500. */
  readonly jobsPerWorker?: number
  /** An idle decoder process ends after this long, milliseconds. Default 120 000. */
  readonly workerIdleMs?: number
  /** Defaults: 10 s to connect, 10 s of silence, 120 s in all. */
  readonly downloadTimeouts?: Partial<DownloadTimeouts>
  /** Default 5. */
  readonly maxRedirects?: number
  /** Where large downloads are kept while they are decoded. Default: the system's temporary folder. */
  readonly temporaryDirectory?: string
  /** Name resolution; tests inject one. */
  readonly resolve?: Resolver
}

/** Pixels, and the size the file had: token counts are made from `sourceWidth` and `sourceHeight`. */
export interface LoadedImage extends RgbImage {
  readonly sourceWidth: number
  readonly sourceHeight: number
  readonly format: string
}

export interface LoadedAudio {
  /** 16 kHz. */
  readonly pcm: MonoPcm
  readonly durationSeconds: number
  readonly warnings: readonly string[]
}

export interface LoadedVideo extends Omit<VideoFacts, 'codec'> {
  readonly video: VideoFrames
  /** Frames delivered. */
  readonly frameCount: number
  /** Length of the sound track; 0 without one. */
  readonly audioSeconds: number
  /** What is missing or odd; for the log and the reply's headers, never silence. */
  readonly warnings: readonly string[]
}

export interface MediaLoader extends AsyncDisposable {
  /** One image. @throws MediaError */
  image(source: string, limits?: ImageLimits, signal?: AbortSignal): Promise<LoadedImage>
  /** One sound, 16 kHz mono. @throws MediaError */
  audio(source: string, limits?: AudioLimits, signal?: AbortSignal): Promise<LoadedAudio>
  /** A clip: frames sampled as Qwen's processor does, and its sound. @throws MediaError */
  video(source: string, limits?: VideoLimits, signal?: AbortSignal): Promise<LoadedVideo>
  /**
   * A clip given as images. `limits` are the image's, and of the video's `minFrames`, `maxFrames` and `fps` (the rate the
   * list stands for). Frames after the first take the first one's size. @throws MediaError with `index`
   */
  frames(
    sources: readonly string[],
    limits?: ImageLimits & Pick<VideoLimits, 'minFrames' | 'maxFrames' | 'fps' | 'maxTotalPixels'>,
    signal?: AbortSignal,
  ): Promise<VideoFrames>
  /** Live figures for `/metrics`. */
  status(): PoolStatus & { readonly downloads: number }
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
  #directory: Promise<string> | undefined

  constructor(options: MediaLoaderOptions) {
    this.#options = options
    this.#allow = new HostAllowList(options.allowHosts)
    this.#downloads = new Gate(options.maxDownloads ?? 32)
    this.#pool = new DecoderPool({
      workers: options.workers ?? Math.min(4, Math.max(2, availableParallelism())),
      maxWaiting: options.maxWaiting ?? 256,
      timeoutMs: options.decodeTimeoutMs ?? 60_000,
      memoryBytes: options.decodeMemoryBytes ?? 1024 ** 3,
      jobsPerWorker: options.jobsPerWorker ?? 500,
      idleMs: options.workerIdleMs ?? 120_000,
    })
  }

  async image(source: string, given: ImageLimits = {}, signal?: AbortSignal): Promise<LoadedImage> {
    const limits = fillLimits(given, defaultImageLimits)
    let image: LoadedImage | undefined
    await this.#load(source, { kind: 'image', limits }, signal, ({ header, payload }) => {
      if (header.type === 'image') image = loadedImage(header, payload)
    })
    return image!
  }

  async audio(source: string, given: AudioLimits = {}, signal?: AbortSignal): Promise<LoadedAudio> {
    const limits = fillLimits(given, defaultAudioLimits)
    const pieces: Uint8Array[] = []
    let warnings: readonly string[] = []
    await this.#load(source, { kind: 'audio', limits }, signal, ({ header, payload }) => {
      if (header.type === 'pcm') pieces.push(payload)
      else if (header.type === 'done') warnings = header.warnings
    })
    const pcm = joinSamples(pieces)
    return { pcm, durationSeconds: pcm.samples.length / soundRate, warnings }
  }

  async video(source: string, given: VideoLimits = {}, signal?: AbortSignal): Promise<LoadedVideo> {
    const limits = fillLimits(given, defaultVideoLimits)
    const frames: RgbImage[] = []
    const timestamps: number[] = []
    const pieces: Uint8Array[] = []
    let facts: VideoFacts | undefined
    let warnings: readonly string[] = []
    await this.#load(source, { kind: 'video', limits }, signal, ({ header, payload }) => {
      if (header.type === 'frame') {
        frames.push({ width: header.width, height: header.height, data: payload })
        timestamps.push(header.timestamp)
      } else if (header.type === 'pcm') pieces.push(payload)
      else if (header.type === 'done') {
        warnings = header.warnings
        facts = header.video
      }
    })
    const { codec: _codec, ...known } = facts!
    const audio = pieces.length > 0 ? joinSamples(pieces) : undefined
    const video: VideoFrames = { frames, timestamps, fps: known.sampledFps, ...(audio === undefined ? {} : { audio }) }
    return {
      ...known,
      video,
      frameCount: frames.length,
      audioSeconds: (audio?.samples.length ?? 0) / soundRate,
      warnings,
    }
  }

  async frames(
    sources: readonly string[],
    given: ImageLimits & Pick<VideoLimits, 'minFrames' | 'maxFrames' | 'fps' | 'maxTotalPixels'> = {},
    signal?: AbortSignal,
  ): Promise<VideoFrames> {
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
    // One failure ends the others: their answer is of no use any more.
    const stop = new AbortController()
    const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
    const load = async (source: string, index: number) => {
      try {
        return await this.image(source, { ...given, maxOutputPixels }, both)
      } catch (error) {
        const placed = error instanceof MediaError ? withOrigin(error, { index, kind: 'image' }) : error
        stop.abort(placed)
        throw placed
      }
    }
    let images: LoadedImage[]
    try {
      images = await Promise.all(sources.map(load))
    } catch (error) {
      throw signal?.aborted === true ? abortedError(signal) : (stop.signal.reason ?? error)
    }
    const { unifySizes } = await import('./image/unify.ts')
    const fps = given.fps ?? defaultVideoLimits.fps
    return { frames: await unifySizes(images), timestamps: images.map((_, i) => i / fps), fps }
  }

  status(): PoolStatus & { readonly downloads: number } {
    return { ...this.#pool.status(), downloads: this.#downloads.active }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#pool[Symbol.asyncDispose]()
    const directory = await this.#directory?.catch(() => undefined)
    if (directory !== undefined) await rm(directory, { recursive: true, force: true })
  }

  async #load(
    source: string,
    job: Pick<JobRequest, 'kind' | 'limits'>,
    caller: AbortSignal | undefined,
    onReply: (reply: DecoderReply) => void,
  ): Promise<void> {
    const signal = caller === undefined ? this.#closing.signal : AbortSignal.any([caller, this.#closing.signal])
    const kind = job.kind
    let from: 'url' | 'data' | undefined
    try {
      if (signal.aborted) throw abortedError(signal)
      const parsed = parseSource(source, job.limits.dataUriMaxBytes)
      from = parsed.kind
      await using spool =
        parsed.kind === 'data'
          ? await checkedBytes(parsed.bytes, kind, job.limits.maxBytes)
          : await this.#download(parsed.url, kind, job.limits.maxBytes, signal)
      if (spool.size === 0) throw empty(kind)
      await this.#pool.run({ ...job, input: spool.bytes() } as JobRequest, onReply, signal)
    } catch (error) {
      if (error instanceof MediaError) throw withOrigin(error, { kind, source: from })
      throw error
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

function loadedImage(header: ImageHeader, data: Uint8Array): LoadedImage {
  const { width, height, sourceWidth, sourceHeight, format } = header
  return { width, height, data, sourceWidth, sourceHeight, format }
}

function joinSamples(pieces: readonly Uint8Array[]): MonoPcm {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    bytes.set(piece, at)
    at += piece.length
  }
  return { sampleRate: soundRate, samples: new Float32Array(bytes.buffer) }
}

/** Lets so many in at once; the rest wait their turn. */
class Gate {
  active = 0
  readonly #size: number
  readonly #queue: (() => void)[] = []

  constructor(size: number) {
    this.#size = size
  }

  async enter(signal: AbortSignal): Promise<Disposable> {
    if (this.active >= this.#size) {
      await new Promise<void>((resolve, reject) => {
        const go = () => {
          signal.removeEventListener('abort', leave)
          resolve()
        }
        const leave = () => {
          this.#queue.splice(this.#queue.indexOf(go), 1)
          reject(abortedError(signal))
        }
        this.#queue.push(go)
        signal.addEventListener('abort', leave, { once: true })
      })
    } else this.active += 1
    return {
      [Symbol.dispose]: () => {
        const next = this.#queue.shift()
        if (next === undefined) this.active -= 1
        else next() // the place passes on
      },
    }
  }
}
