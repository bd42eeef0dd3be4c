/**
 * One file from a hub to disk: resumable, checked against its hash, and under its final name only when complete.
 */

import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { HubClient } from './hub-client.ts'
import type { HubFile } from './hub-listing.ts'
import { PullError } from './pull-error.ts'

export interface DownloadOptions {
  /** Path of the finished file. */
  readonly target: string
  /** Called with bytes as they arrive; a negative number discards bytes that failed the check. */
  readonly onBytes: (bytes: number) => void
  readonly signal?: AbortSignal | undefined
  /** Milliseconds without a byte after which the connection counts as broken. Default 60 000. */
  readonly stallAfter?: number | undefined
}

/** Bytes of the file that an earlier run left behind. */
export async function partialSize(file: HubFile, target: string): Promise<number> {
  return Math.min((await sizeOf(partialPath(file, target))) ?? 0, file.size)
}

/**
 * Downloads, resuming `TARGET.HASH.partial` when there is one.
 *
 * Throws {@link PullError}: `network` after several tries without a new byte, `checksum` when a fresh download is still
 * wrong, `disk_full`; the signal's reason once aborted, keeping what has arrived.
 */
export async function downloadFile(client: HubClient, file: HubFile, options: DownloadOptions): Promise<void> {
  const { target, onBytes, signal } = options
  const partial = partialPath(file, target)
  await mkdir(dirname(target), { recursive: true })
  for (let round = 1; ; round++) {
    const resumed = (await sizeOf(partial)) ?? 0
    const hash = newHash(file)
    if (resumed > 0 && resumed <= file.size) await feed(hash, partial, signal)
    if (resumed <= file.size) {
      await fetchRest(client, file, partial, resumed, hash, options)
      if (matches(file, hash)) break
    }
    // A partial file of an earlier run may be bad: once more from the start.
    await rm(partial, { force: true })
    onBytes(-file.size)
    signal?.throwIfAborted()
    if (round === 2 || resumed === 0) {
      throw new PullError(
        'checksum',
        `${file.path} arrived whole but its ${file.hash!.kind} is not ${file.hash!.value}: the file or the connection is damaged; run the command again`,
      )
    }
  }
  const written = await sizeOf(partial)
  if (written !== file.size) {
    throw new PullError(
      'disk_full',
      `${file.path} has ${written ?? 0} bytes on disk instead of ${file.size}: another pull writes it too, or the disk did not take all; run the command again`,
    )
  }
  await rename(partial, target)
}

/** Whether an existing file is the announced one. Reads it all when there is a hash. */
export async function isComplete(file: HubFile, target: string, signal?: AbortSignal): Promise<boolean> {
  if ((await sizeOf(target)) !== file.size) return false
  const hash = newHash(file)
  await feed(hash, target, signal)
  return matches(file, hash)
}

async function fetchRest(
  client: HubClient,
  file: HubFile,
  partial: string,
  resumed: number,
  hash: Hash,
  { onBytes, signal, stallAfter = 60_000 }: DownloadOptions,
): Promise<void> {
  let done = resumed
  let failures = 0
  await using handle = await open(partial, 'a').catch((error: unknown) => {
    throw diskError(file, error)
  })
  while (done < file.size) {
    const watch = new AbortController()
    const both = signal === undefined ? watch.signal : AbortSignal.any([signal, watch.signal])
    const stalled = (): void => watch.abort(new Error(`no byte for ${stallAfter / 1000} s`))
    let timer: NodeJS.Timeout | undefined
    const before = done
    let fault: unknown
    try {
      const response = await client.get(file.url, done > 0 ? { range: `bytes=${done}-` } : {}, both)
      let skip = bytesToSkip(response, file, done)
      timer = setTimeout(stalled, stallAfter)
      for await (const received of response.body ?? []) {
        clearTimeout(timer)
        timer = setTimeout(stalled, stallAfter)
        const chunk = received.subarray(skip)
        skip -= received.length - chunk.length
        if (done + chunk.length > file.size) {
          throw new PullError(
            'checksum',
            `${file.path} is longer than the ${file.size} bytes announced; run the command again`,
          )
        }
        await writeAll(handle, chunk).catch((error: unknown) => {
          throw diskError(file, error)
        })
        hash.update(chunk)
        done += chunk.length
        onBytes(chunk.length)
      }
      if (done < file.size) fault = new Error(`the connection ended ${file.size - done} bytes early`)
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof PullError) throw error
      fault = error
    } finally {
      clearTimeout(timer)
    }
    if (fault === undefined) continue
    failures = done > before ? 1 : failures + 1
    if (failures >= client.tries) throw client.networkError(fault)
    await client.wait(failures)
  }
}

/** A single write may accept only part of the bytes, as on a full disk. */
async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done)
    if (bytesWritten === 0) throw new Error('the disk takes no more bytes')
    done += bytesWritten
  }
}

/** Bytes of the answer that are on disk already: all of them when the server cannot resume and starts over. */
function bytesToSkip(response: Response, file: HubFile, from: number): number {
  if (response.status === 200) return from
  const range = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')
  if (response.status === 206 && Number(range?.[1]) === from) return 0
  throw new PullError(
    'checksum',
    `${file.path} cannot be resumed at byte ${from} of ${file.size} (status ${response.status}); the hub's file has changed: run the command again`,
  )
}

function newHash(file: HubFile): Hash {
  if (file.hash?.kind === 'git-sha1') return createHash('sha1').update(`blob ${file.size}\0`)
  return createHash('sha256')
}

async function feed(hash: Hash, path: string, signal?: AbortSignal): Promise<void> {
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, ...(signal && { signal }) })) {
    hash.update(chunk as Uint8Array)
  }
}

function matches(file: HubFile, hash: Hash): boolean {
  return file.hash === undefined || hash.digest('hex') === file.hash.value
}

/** The hash is in the name: a new version of the file does not continue the old one. */
function partialPath(file: HubFile, target: string): string {
  return `${target}.${file.hash?.value.slice(0, 12) ?? file.size}.partial`
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch {
    return undefined
  }
}

function diskError(file: HubFile, cause: unknown): PullError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new PullError('disk_full', `${file.path} cannot be written: ${why}`, { cause })
}
