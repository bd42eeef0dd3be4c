/**
 * Fetches a media source: decodes a data URI, or downloads a URL.
 *
 * In: a source string and limits. Out: a {@link FetchedFile} that the caller disposes. Errors: {@link MediaError}. A
 * fetcher limits the concurrent downloads and owns a private temporary folder; disposing it deletes the folder.
 */
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { abortedError, MediaError, type MediaKind, type SourceKind, withOrigin } from '../errors.ts'
import { FetchedFile } from '../fetched-file.ts'
import type { ImageLimits } from '../limits.ts'
import { Semaphore } from '../semaphore.ts'
import { expectKind, sniff, sniffLength } from '../sniff.ts'
import { parseSource } from '../source.ts'
import { HostAllowList } from './address.ts'
import { download, type DownloadTimeouts } from './download.ts'
import type { Resolver } from './resolve.ts'
import { resourceError } from './resources.ts'
import { makeSpoolDirectory, Spool } from './spool.ts'

export interface FetcherOptions {
  /** `HOST` or `HOST:PORT` from which files may be downloaded even if the address is not public. */
  readonly allowHosts?: readonly string[]
  /** Most concurrent downloads; further ones wait. Default 32. */
  readonly maxDownloads?: number
  /** Defaults: 10 s to connect, 10 s without data, 120 s in all. */
  readonly downloadTimeouts?: Partial<DownloadTimeouts>
  /** Default 5. */
  readonly maxRedirects?: number
  /** Parent of the folder for large downloads. Default: the system's temporary folder. */
  readonly temporaryDirectory?: string
  /** Resolves host names; tests pass their own. */
  readonly resolve?: Resolver
}

export type FileLimits = Required<Pick<ImageLimits, 'maxBytes' | 'dataUriMaxBytes'>>

export class Fetcher implements AsyncDisposable {
  readonly #options: FetcherOptions
  readonly #allowList: HostAllowList
  readonly #downloads: Semaphore
  #directory: Promise<string> | undefined

  /** @throws TypeError on a malformed `allowHosts` entry */
  constructor(options: FetcherOptions) {
    this.#options = options
    this.#allowList = new HostAllowList(options.allowHosts)
    this.#downloads = new Semaphore(options.maxDownloads ?? 32)
  }

  /** Downloads that are running. */
  get activeDownloads(): number {
    return this.#downloads.held
  }

  /** @throws MediaError with kind and source */
  async fetch(source: string, kind: MediaKind, limits: FileLimits, signal: AbortSignal): Promise<FetchedFile> {
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
      if (spool.size === 0) throw emptyFileError(kind)
      await file.identify(JSON.stringify([kind, limits]))
      return file
    } catch (error) {
      await file?.[Symbol.asyncDispose]()
      const mediaError = error instanceof MediaError ? error : resourceError(error)
      throw mediaError ? withOrigin(mediaError, { kind, source: from }) : error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const directory = await this.#directory?.catch(() => undefined)
    if (directory !== undefined) await rm(directory, { recursive: true, force: true })
  }

  async #download(url: URL, kind: MediaKind, maxBytes: number, signal: AbortSignal): Promise<Spool> {
    using _slot = await this.#downloads.acquire(1, signal)
    this.#directory ??= makeSpoolDirectory(this.#options.temporaryDirectory ?? tmpdir())
    this.#directory.catch(() => (this.#directory = undefined)) // the next download tries again
    return download(url, {
      allow: this.#allowList,
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
    throw new MediaError('too_large', `The media file has ${bytes.length} bytes; at most ${maxBytes} are accepted.`)
  }
  if (bytes.length > 0) expectKind(await sniff(bytes.subarray(0, sniffLength)), kind)
  return Spool.of(bytes)
}

function emptyFileError(kind: MediaKind): MediaError {
  switch (kind) {
    case 'image':
      return new MediaError('image_illegal', 'The file has 0 bytes.')
    case 'audio':
      return new MediaError('audio_empty', 'The file has 0 bytes.')
    case 'video':
      return new MediaError('video_invalid', 'The file has 0 bytes.')
    default:
      return kind satisfies never
  }
}
