/**
 * `omniserve pull ID`: a checkpoint from Hugging Face or ModelScope into a folder.
 *
 * In: the model's id. Out: the folder, every file checked against the hub's hash, and a list of those that have none.
 * Running it again resumes where it stopped and checks what is there. Progress is reported in bytes of the whole.
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
  /** The file that bytes arrived for. */
  readonly file: string
  /** Bytes on disk, of earlier files too, and in all. */
  readonly bytesDone: number
  readonly bytes: number
  readonly filesDone: number
  readonly files: number
}

export interface PullOptions {
  /** Target folder; created when missing. */
  readonly folder: string
  /** Default: Hugging Face, unless the id begins with `modelscope:`. */
  readonly hub?: HubName
  /** Branch, tag or commit. Default: the hub's main branch. */
  readonly revision?: string
  /** Which files to fetch. Default {@link isCheckpointFile}. */
  readonly include?: (path: string) => boolean
  /** Files at a time. Default 4. */
  readonly parallel?: number
  readonly onProgress?: (progress: PullProgress) => void
  /**
   * Called with the licence when the model card has arrived and before anything else is fetched, unless all files exist
   * already. An error that it throws ends the pull.
   */
  readonly onLicence?: (licence: Licence) => void | Promise<void>
  readonly signal?: AbortSignal
  /** Default: `HF_ENDPOINT` or `MODELSCOPE_ENDPOINT`, else the public hub. */
  readonly endpoint?: string
  /** Default: `HF_TOKEN` or `MODELSCOPE_API_TOKEN`. */
  readonly token?: string
  /** Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Waits between tries; tests pass a short one. */
  readonly pause?: (milliseconds: number, signal?: AbortSignal) => Promise<void>
  /** Tries in a row without a new byte. Default 6. */
  readonly tries?: number
  /** Milliseconds without a byte after which a connection counts as broken. Default 60 000. */
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
  /** Bytes that were fetched by this run. */
  readonly bytesFetched: number
  /** Files that the hub gives no hash for: only their size was checked. */
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

/** Weights, configuration, tokenizer, templates, voices and licence; no other weight formats, no images. */
export function isCheckpointFile(path: string): boolean {
  return (
    !path.includes('/') &&
    (/\.(safetensors|json|jinja)$/.test(path) ||
      /^(merges\.txt|vocab\.txt|spk_dict\.pt|LICENSE.*|NOTICE.*|README\.md)$/.test(path))
  )
}

/** Splits `modelscope:OWNER/NAME` or `OWNER/NAME`. Throws `bad_request` for anything else. */
export function parseHubId(id: string, hub?: HubName): { readonly hub: HubName; readonly id: string } {
  const match = /^(?:(huggingface|hf|modelscope|ms):)?([\w-][\w.-]*\/[\w-][\w.-]*)$/.exec(id)
  if (match === null) {
    throw new PullError(
      'bad_request',
      `${JSON.stringify(id)} is not a model id: it should read OWNER/NAME, as Qwen/Qwen3-Omni-30B-A3B-Instruct`,
    )
  }
  const [, prefix, name] = match
  const named: HubName | undefined =
    prefix === undefined ? undefined : prefix.startsWith('m') ? 'modelscope' : 'huggingface'
  return { hub: named ?? hub ?? 'huggingface', id: name! }
}

/**
 * Fetches a checkpoint.
 *
 * Throws {@link PullError} (see its codes); the signal's reason once aborted, keeping partial files for the next run.
 */
export async function pullCheckpoint(hubId: string, options: PullOptions): Promise<PullResult> {
  const { folder, signal, env = process.env } = options
  signal?.throwIfAborted()
  const { hub, id } = parseHubId(hubId, options.hub)
  const about = hubs[hub]
  const client = new HubClient({
    name: about.name,
    endpoint: (options.endpoint ?? nonEmpty(env[about.endpointVariable]) ?? about.endpoint).replace(/\/+$/, ''),
    token: options.token ?? nonEmpty(env[about.tokenVariable]),
    tokenVariable: about.tokenVariable,
    signal,
    pause: options.pause,
    tries: options.tries,
  })
  const { revision, files } = chosen(await about.list(client, id, options.revision), id, options.include)
  await mkdir(folder, { recursive: true })
  const ledger = await Ledger.open(folder)

  const bytes = files.reduce((sum, file) => sum + file.size, 0)
  const wanted: HubFile[] = []
  let bytesDone = 0
  for (const file of files) {
    const target = join(folder, file.path)
    if ((await ledger.knows(file, target)) || (await isComplete(file, target, signal))) {
      await ledger.add(file, target)
      bytesDone += file.size
    } else {
      wanted.push(file)
      bytesDone += await partialSize(file, target)
    }
  }
  await checkDisk(folder, bytes - bytesDone)

  let filesDone = files.length - wanted.length
  let bytesFetched = 0
  let reportedAt = 0
  const tell = (file: string, always: boolean): void => {
    const now = performance.now()
    if (!always && now - reportedAt < 100) return
    reportedAt = now
    options.onProgress?.({ file, bytesDone, bytes, filesDone, files: files.length })
  }
  // One failure stops the others; partial files stay for the next run.
  const stop = new AbortController()
  const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
  const stoppable = new HubClient({ ...client.options, signal: both })
  const fetchOne = async (file: HubFile): Promise<void> => {
    const { path } = file
    const target = join(folder, path)
    await downloadFile(stoppable, file, {
      target,
      signal: both,
      stallAfter: options.stallAfter,
      onBytes(count) {
        bytesDone += count
        if (count > 0) bytesFetched += count
        tell(path, false)
      },
    })
    await ledger.add(file, target)
    filesDone++
    tell(path, true)
  }
  const card = wanted.find(({ path }) => path === CARD)
  if (card !== undefined) await fetchOne(card)
  const hasCard = files.some(({ path }) => path === CARD)
  const licence = readLicence(id, hasCard ? await readFile(join(folder, CARD), 'utf8') : undefined)
  const queue = wanted.filter((file) => file !== card).toSorted((a, b) => b.size - a.size)
  if (queue.length > 0) await options.onLicence?.(licence)
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) await fetchOne(file)
  }
  const results = await Promise.allSettled(
    Array.from({ length: Math.max(1, options.parallel ?? 4) }, async () => {
      try {
        await worker()
      } catch (error) {
        stop.abort(error)
        throw error
      }
    }),
  )
  signal?.throwIfAborted()
  if (results.some((result) => result.status === 'rejected')) throw stop.signal.reason
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

function chosen(listing: HubListing, id: string, include = isCheckpointFile): HubListing {
  const files = listing.files.filter(({ path }) => include(path))
  if (!files.some(({ path }) => path === 'config.json')) {
    throw new PullError(
      'bad_listing',
      `${id} has no config.json: it is not a checkpoint in the form that transformers reads`,
    )
  }
  if (!files.some(({ path }) => path.endsWith('.safetensors'))) {
    throw new PullError('bad_listing', `${id} has no safetensors files: other weight formats are not read`)
  }
  return { revision: listing.revision, files }
}

async function checkDisk(folder: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  if (needed <= bavail * bsize) return
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`
  throw new PullError(
    'disk_full',
    `${folder} needs ${gigabytes(needed)} more and its disk has ${gigabytes(bavail * bsize)} left: free some or choose another folder`,
  )
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text
}

/** Records which files were checked, so that a second run need not read them again. */
class Ledger {
  readonly #path: string
  readonly #entries: Record<string, unknown>
  #saving: Promise<void> = Promise.resolve()

  private constructor(path: string, entries: Record<string, unknown>) {
    this.#path = path
    this.#entries = entries
  }

  static async open(folder: string): Promise<Ledger> {
    const path = join(folder, '.omniserve-pull.json')
    try {
      const entries: unknown = JSON.parse(await readFile(path, 'utf8'))
      if (typeof entries === 'object' && entries !== null) return new Ledger(path, entries as Record<string, unknown>)
    } catch {
      // None yet, or broken: files are read and checked again.
    }
    return new Ledger(path, {})
  }

  async knows(file: HubFile, target: string): Promise<boolean> {
    const mark = await markOf(file, target)
    return mark !== undefined && this.#entries[file.path] === mark
  }

  async add(file: HubFile, target: string): Promise<void> {
    this.#entries[file.path] = await markOf(file, target)
    this.#saving = this.#saving.then(() => writeFile(this.#path, `${JSON.stringify(this.#entries, undefined, 1)}\n`))
    await this.#saving
  }
}

/** Changes when the file on disk, or on the hub, does. */
async function markOf({ size, hash }: HubFile, target: string): Promise<string | undefined> {
  try {
    const about = await stat(target)
    return about.size === size ? `${hash?.value ?? ''} ${size} ${about.mtimeMs}` : undefined
  } catch {
    return undefined
  }
}
