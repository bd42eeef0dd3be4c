/**
 * `omniserve pull ID`: downloads a checkpoint from Hugging Face or ModelScope to a folder.
 *
 * In: the model's id. Out: the folder with files that are checked against the hub's hashes, and the names of files
 * without a hash. A second run resumes, and checks existing files.
 *
 * Reference: docs/decisions/2026-11-23-pull.md, docs/decisions/2026-11-30-verify-and-licences.md
 */

import { mkdir, readFile, stat, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { downloadFile, isComplete, partialSize } from './download-file.ts'
import { HubClient } from './hub-client.ts'
import { type HubFile, type HubListing, listHuggingFace, listModelScope } from './hub-listing.ts'
import { type Licence, readLicence } from './licence.ts'
import { PullError } from './pull-error.ts'

export type HubName = 'huggingface' | 'modelscope'

export interface PullProgress {
  /** The file that received bytes last. */
  readonly file: string
  /** Bytes of all files that are on disk. */
  readonly bytesDone: number
  /** Bytes of all files. */
  readonly bytes: number
  readonly filesDone: number
  readonly files: number
}

export interface PullOptions {
  /** Target folder; created when it is missing. */
  readonly folder: string
  /** Default: Hugging Face, unless the id begins with `modelscope:`. */
  readonly hub?: HubName
  /** Branch, tag or commit. Default: the hub's main branch. */
  readonly revision?: string
  /** Which files to download. Default {@link isCheckpointFile}. */
  readonly include?: (path: string) => boolean
  /** Number of files to download at the same time. Default 4. */
  readonly parallel?: number
  readonly onProgress?: (progress: PullProgress) => void
  /**
   * Called with the licence after the model card and before other files are downloaded; not called when all files
   * already exist. An error that it throws ends the pull.
   */
  readonly onLicence?: (licence: Licence) => void | Promise<void>
  readonly signal?: AbortSignal
  /** Default: `HF_ENDPOINT` or `MODELSCOPE_ENDPOINT`, else the public hub. */
  readonly endpoint?: string
  /** Default: `HF_TOKEN` or `MODELSCOPE_API_TOKEN`. */
  readonly token?: string
  /** Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Waits between tries. Default: a timer; for tests. */
  readonly pause?: (milliseconds: number, signal?: AbortSignal) => Promise<void>
  /** Maximum number of consecutive tries without a new byte. Default 6. */
  readonly tries?: number
  /** Milliseconds without a received byte after which a connection counts as broken. Default 60 000. */
  readonly stallAfter?: number
}

export interface PullResult {
  readonly folder: string
  readonly hub: HubName
  readonly id: string
  /** The commit, where the hub gives it. */
  readonly revision: string
  readonly files: readonly string[]
  readonly bytes: number
  /** Bytes that this run downloaded. */
  readonly bytesFetched: number
  /** Files without a hash on the hub: only their size is checked. */
  readonly unverified: readonly string[]
  readonly licence: Licence
}

const CARD = 'README.md'

const hubs = {
  huggingface: {
    name: 'Hugging Face',
    endpoint: 'https://huggingface.co',
    endpointVariable: 'HF_ENDPOINT',
    tokenVariable: 'HF_TOKEN',
    list: listHuggingFace,
  },
  modelscope: {
    name: 'ModelScope',
    endpoint: 'https://modelscope.cn',
    endpointVariable: 'MODELSCOPE_ENDPOINT',
    tokenVariable: 'MODELSCOPE_API_TOKEN',
    list: listModelScope,
  },
} as const

/**
 * Whether a file is needed: weights, configuration, tokenizer, templates, voices, licence. Not: other weight formats.
 */
export function isCheckpointFile(path: string): boolean {
  return (
    !path.includes('/') &&
    (/\.(safetensors|json|jinja)$/.test(path) ||
      /^(merges\.txt|vocab\.txt|spk_dict\.pt|LICENSE.*|NOTICE.*|README\.md)$/.test(path))
  )
}

/**
 * Parses `OWNER/NAME`, with an optional prefix `hf:`, `huggingface:`, `ms:` or `modelscope:`. `hub`: default of the
 * prefix. Throws {@link PullError} `bad_request` for anything else.
 */
export function parseHubId(id: string, hub?: HubName): { readonly hub: HubName; readonly id: string } {
  const match = /^(?:(huggingface|hf|modelscope|ms):)?([\w-][\w.-]*\/[\w-][\w.-]*)$/.exec(id)
  if (match === null) {
    throw new PullError(
      'bad_request',
      `${JSON.stringify(id)} is not a model id: it must be OWNER/NAME, such as Qwen/Qwen3-Omni-30B-A3B-Instruct`,
    )
  }
  const [, prefix, name] = match
  const fromPrefix: HubName | undefined =
    prefix === undefined ? undefined : prefix.startsWith('m') ? 'modelscope' : 'huggingface'
  return { hub: fromPrefix ?? hub ?? 'huggingface', id: name! }
}

/**
 * Downloads a checkpoint.
 *
 * Rejects with {@link PullError}; with the signal's reason when aborted. Partial files remain for the next run.
 */
export async function pullCheckpoint(hubId: string, options: PullOptions): Promise<PullResult> {
  const { folder, signal, env = process.env } = options
  signal?.throwIfAborted()
  const { hub, id } = parseHubId(hubId, options.hub)
  const known = hubs[hub]
  const client = new HubClient({
    name: known.name,
    endpoint: (options.endpoint ?? nonEmpty(env[known.endpointVariable]) ?? known.endpoint).replace(/\/+$/, ''),
    token: options.token ?? nonEmpty(env[known.tokenVariable]),
    tokenVariable: known.tokenVariable,
    signal,
    pause: options.pause,
    tries: options.tries,
  })
  const { revision, files } = selectFiles(await known.list(client, id, options.revision), id, options.include)
  await mkdir(folder, { recursive: true })
  const checked = await CheckedFiles.open(folder)

  const bytes = files.reduce((sum, file) => sum + file.size, 0)
  const missing: HubFile[] = []
  let bytesDone = 0
  for (const file of files) {
    const target = join(folder, file.path)
    if ((await checked.has(file, target)) || (await isComplete(file, target, signal))) {
      await checked.add(file, target)
      bytesDone += file.size
    } else {
      missing.push(file)
      bytesDone += await partialSize(file, target)
    }
  }
  await checkDisk(folder, bytes - bytesDone)

  let filesDone = files.length - missing.length
  let bytesFetched = 0
  let reportedAt = 0
  const report = (file: string, always: boolean): void => {
    const now = performance.now()
    if (!always && now - reportedAt < 100) return
    reportedAt = now
    options.onProgress?.({ file, bytesDone, bytes, filesDone, files: files.length })
  }
  // A failed download stops the others.
  const failure = new AbortController()
  const stopped = signal === undefined ? failure.signal : AbortSignal.any([signal, failure.signal])
  const stoppableClient = new HubClient({ ...client.options, signal: stopped })
  const download = async (file: HubFile): Promise<void> => {
    const { path } = file
    const target = join(folder, path)
    await downloadFile(stoppableClient, file, {
      target,
      signal: stopped,
      stallAfter: options.stallAfter,
      onBytes(count) {
        bytesDone += count
        if (count > 0) bytesFetched += count
        report(path, false)
      },
    })
    await checked.add(file, target)
    filesDone++
    report(path, true)
  }
  const card = missing.find(({ path }) => path === CARD)
  if (card !== undefined) await download(card)
  const hasCard = files.some(({ path }) => path === CARD)
  const licence = readLicence(id, hasCard ? await readFile(join(folder, CARD), 'utf8') : undefined)
  const queue = missing.filter((file) => file !== card).toSorted((a, b) => b.size - a.size)
  if (queue.length > 0) await options.onLicence?.(licence)
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) await download(file)
  }
  const results = await Promise.allSettled(
    Array.from({ length: Math.max(1, options.parallel ?? 4) }, async () => {
      try {
        await worker()
      } catch (error) {
        failure.abort(error)
        throw error
      }
    }),
  )
  signal?.throwIfAborted()
  if (results.some((result) => result.status === 'rejected')) throw failure.signal.reason
  return {
    folder,
    hub,
    id,
    revision,
    files: files.map(({ path }) => path),
    bytes,
    bytesFetched,
    unverified: files.filter(({ hash }) => hash === undefined).map(({ path }) => path),
    licence,
  }
}

/** The files to download. Throws {@link PullError} when they are not a checkpoint. */
function selectFiles(listing: HubListing, id: string, include = isCheckpointFile): HubListing {
  const files = listing.files.filter(({ path }) => include(path))
  if (!files.some(({ path }) => path === 'config.json')) {
    throw new PullError('bad_listing', `${id} has no config.json: it is not a checkpoint in the format of transformers`)
  }
  if (!files.some(({ path }) => path.endsWith('.safetensors'))) {
    throw new PullError('bad_listing', `${id} has no safetensors files: other weight formats are not supported`)
  }
  return { revision: listing.revision, files }
}

async function checkDisk(folder: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  if (needed <= bavail * bsize) return
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`
  throw new PullError(
    'disk_full',
    `${folder} needs ${gigabytes(needed)} more and its disk has ${gigabytes(bavail * bsize)} left: free some space or choose another folder`,
  )
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text
}

/** Records which files have passed their check, so that a second run does not read them again. */
class CheckedFiles {
  readonly #path: string
  readonly #entries: Record<string, unknown>
  #saving: Promise<void> = Promise.resolve()

  private constructor(path: string, entries: Record<string, unknown>) {
    this.#path = path
    this.#entries = entries
  }

  static async open(folder: string): Promise<CheckedFiles> {
    const path = join(folder, '.omniserve-pull.json')
    try {
      const entries: unknown = JSON.parse(await readFile(path, 'utf8'))
      if (typeof entries === 'object' && entries !== null)
        return new CheckedFiles(path, entries as Record<string, unknown>)
    } catch {
      // The record is missing or invalid: all files are read and checked again.
    }
    return new CheckedFiles(path, {})
  }

  /** Whether this version of the file has passed its check and has not changed since. */
  async has(file: HubFile, target: string): Promise<boolean> {
    const state = await stateOf(file, target)
    return state !== undefined && this.#entries[file.path] === state
  }

  async add(file: HubFile, target: string): Promise<void> {
    this.#entries[file.path] = await stateOf(file, target)
    this.#saving = this.#saving.then(() => writeFile(this.#path, `${JSON.stringify(this.#entries, undefined, 1)}\n`))
    await this.#saving
  }
}

/** A text that changes when the file changes on disk or on the hub; undefined when it is missing or incomplete. */
async function stateOf({ size, hash }: HubFile, target: string): Promise<string | undefined> {
  try {
    const stats = await stat(target)
    return stats.size === size ? `${hash?.value ?? ''} ${size} ${stats.mtimeMs}` : undefined
  } catch {
    return undefined
  }
}
