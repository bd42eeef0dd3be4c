/**
 * Downloads one file from a hub: resumable, checked against its hash, renamed to its final name when complete.
 */

import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { writeAll } from '../../tensor/write-all.ts'
import type { HubClient } from './hub-client.ts'
import type { HubFile } from './hub-listing.ts'
import { messageOf } from '../message-of.ts'
import { PullError } from './pull-error.ts'

export interface DownloadOptions {
  /** Path of the finished file. */
  readonly target: string
  /** Called with the number of received bytes; negative when bytes that failed the check are discarded. */
  readonly onBytes: (bytes: number) => void
  readonly signal?: AbortSignal | undefined
  /** Milliseconds without a received byte after which the connection counts as broken. Default 60 000. */
  readonly stallAfter?: number | undefined
}

/** Bytes of the file that an earlier run has downloaded. */
export async function partialSize(file: HubFile, target: string): Promise<number> {
  return Math.min((await sizeOf(partialPath(file, target))) ?? 0, file.size)
}

/**
 * Downloads a file; resumes from `TARGET.HASH.partial` where it exists.
 *
 * Rejects with {@link PullError}: `network` after several tries without a new byte, `checksum` when a download from the
 * start is still wrong, `disk_full`; with the signal's reason when aborted. The partial file remains for the next run.
 */
export async function downloadFile(client: HubClient, file: HubFile, options: DownloadOptions): Promise<void> {
  const { target, onBytes, signal } = options
  const partial = partialPath(file, target)
  await mkdir(dirname(target), { recursive: true })
  for (let attempt = 1; ; attempt++) {
    const resumed = (await sizeOf(partial)) ?? 0
    const hash = newHash(file)
    if (resumed > 0 && resumed <= file.size) await updateHash(hash, partial, signal)
    if (resumed <= file.size) {
      await fetchRest(client, file, partial, resumed, hash, options)
      if (matches(file, hash)) break
    }
    // The partial file of an earlier run may be damaged: download once more from the start.
    await rm(partial, { force: true })
    onBytes(-file.size)
    signal?.throwIfAborted()
    if (attempt === 2 || resumed === 0) {
      throw new PullError(
        'checksum',
        `${file.path} is complete but its ${file.hash!.kind} is not ${file.hash!.value}: the file or the connection is damaged; run the command again`,
      )
    }
  }
  const written = await sizeOf(partial)
  if (written !== file.size) {
    throw new PullError(
      'disk_full',
      `${file.path} has ${written ?? 0} bytes on disk instead of ${file.size}: another pull writes the same file, or the disk is full; run the command again`,
    )
  }
  await rename(partial, target)
}

/** Whether a file exists with the size and hash of the listing. Reads the whole file. */
export async function isComplete(file: HubFile, target: string, signal?: AbortSignal): Promise<boolean> {
  if ((await sizeOf(target)) !== file.size) return false
  const hash = newHash(file)
  await updateHash(hash, target, signal)
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
    const stall = new AbortController()
    const stopped = signal === undefined ? stall.signal : AbortSignal.any([signal, stall.signal])
    const abortStalled = (): void => stall.abort(new Error(`no data for ${stallAfter / 1000} s`))
    let timer: NodeJS.Timeout | undefined
    const before = done
    let fault: unknown
    try {
      const response = await client.get(file.url, done > 0 ? { range: `bytes=${done}-` } : {}, stopped)
      let skip = bytesToSkip(response, file, done)
      timer = setTimeout(abortStalled, stallAfter)
      for await (const received of response.body ?? []) {
        clearTimeout(timer)
        timer = setTimeout(abortStalled, stallAfter)
        const chunk = received.subarray(skip)
        skip -= received.length - chunk.length
        if (done + chunk.length > file.size) {
          throw new PullError(
            'checksum',
            `${file.path} is longer than the ${file.size} bytes of the listing; run the command again`,
          )
        }
        await writeAll(handle, chunk).catch((error: unknown) => {
          throw diskError(file, error)
        })
        hash.update(chunk)
        done += chunk.length
        onBytes(chunk.length)
      }
      if (done < file.size) fault = new Error(`the connection ended ${file.size - done} bytes too early`)
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

/** Leading bytes of the response that are already on disk: not 0 when the server cannot resume and sends everything. */
function bytesToSkip(response: Response, file: HubFile, from: number): number {
  if (response.status === 200) return from
  const range = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')
  if (response.status === 206 && Number(range?.[1]) === from) return 0
  throw new PullError(
    'checksum',
    `${file.path} cannot be resumed at byte ${from} of ${file.size} (status ${response.status}); the file on the hub has changed: run the command again`,
  )
}

function newHash(file: HubFile): Hash {
  if (file.hash?.kind === 'git-sha1') return createHash('sha1').update(`blob ${file.size}\0`)
  return createHash('sha256')
}

async function updateHash(hash: Hash, path: string, signal?: AbortSignal): Promise<void> {
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, ...(signal && { signal }) })) {
    hash.update(chunk as Uint8Array)
  }
}

function matches(file: HubFile, hash: Hash): boolean {
  return file.hash === undefined || hash.digest('hex') === file.hash.value
}

/** The name contains the hash, so that a new version of the file does not continue the old one. */
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
  return new PullError('disk_full', `${file.path} cannot be written: ${messageOf(cause)}`, { cause })
}
