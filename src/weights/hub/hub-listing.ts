/**
 * Lists the files of a model on its hub, with their URLs, sizes and hashes.
 *
 * Reference: Hugging Face hub API (`/api/models/ID/tree/REV`, `/ID/resolve/REV/PATH`), ModelScope API
 * (`/api/v1/models/ID/repo/files`, `/api/v1/models/ID/repo`).
 */

import { messageOf } from '../message-of.ts'
import type { HubClient } from './hub-client.ts'
import { PullError } from './pull-error.ts'

type FileHash =
  /** SHA-256 of the content, hexadecimal. */
  | { readonly kind: 'sha256'; readonly value: string }
  /** SHA-1 of git's blob: `blob SIZE\0` and the content. */
  | { readonly kind: 'git-sha1'; readonly value: string }

export interface HubFile {
  /** Relative, with forward slashes; checked to be inside the target folder. */
  readonly path: string
  readonly size: number
  readonly url: string
  readonly hash?: FileHash
}

export interface HubListing {
  /** The commit, where the hub gives it. */
  readonly revision: string
  readonly files: readonly HubFile[]
}

/** Lists the files of one commit, so that files of two versions never mix. Rejects with {@link PullError}. */
export async function listHuggingFace(client: HubClient, id: string, revision = 'main'): Promise<HubListing> {
  const { endpoint } = client.options
  const hub = {
    hubUrl: endpoint,
    fetch: async (input: unknown, init?: { headers?: unknown }) =>
      client.get(String(input), (init?.headers ?? {}) as Record<string, string>),
  } as unknown as { hubUrl: string; fetch: typeof fetch }
  return listing(client, async () => {
    // Only downloads need it; every engine would load it.
    const { listFiles, modelInfo } = await import('@huggingface/hub')
    const { sha } = await modelInfo({ ...hub, name: id, revision, additionalFields: ['sha'] })
    const files: HubFile[] = []
    for await (const entry of listFiles({
      ...hub,
      repo: { type: 'model', name: id },
      revision: sha,
      recursive: true,
    })) {
      if (entry.type !== 'file') continue
      const value = entry.lfs?.oid ?? entry.oid
      files.push({
        path: checkedPath(entry.path),
        size: checkedSize(entry.lfs?.size ?? entry.size, entry.path),
        url: `${endpoint}/${id}/resolve/${sha}/${encodePath(entry.path)}`,
        ...(value === undefined ? {} : { hash: { kind: entry.lfs === undefined ? 'git-sha1' : 'sha256', value } }),
      })
    }
    return { revision: sha, files }
  })
}

/** Lists the files of a branch, tag or commit. Rejects with {@link PullError}. */
export async function listModelScope(client: HubClient, id: string, revision = 'master'): Promise<HubListing> {
  const base = `${client.options.endpoint}/api/v1/models/${id}/repo`
  return listing(client, async () => {
    const response = await client.get(`${base}/files?Revision=${encodeURIComponent(revision)}&Recursive=true`)
    const body = (await response.json()) as { Code?: unknown; Message?: unknown; Data?: { Files?: unknown } }
    if (body.Code !== 200) {
      throw new PullError('not_found', `ModelScope has no ${id} at ${revision}: ${String(body.Message ?? body.Code)}`)
    }
    if (!Array.isArray(body.Data?.Files)) throw new TypeError('Data.Files is not a list')
    const files = (body.Data.Files as Record<string, unknown>[])
      .filter((entry) => entry.Type !== 'tree')
      .map((entry): HubFile => {
        const path = checkedPath(String(entry.Path))
        const query = new URLSearchParams({ Revision: revision, FilePath: path })
        return {
          path,
          size: checkedSize(entry.Size, path),
          url: `${base}?${query.toString()}`,
          ...(typeof entry.Sha256 === 'string' && entry.Sha256 !== ''
            ? { hash: { kind: 'sha256', value: entry.Sha256.toLowerCase() } }
            : {}),
        }
      })
    return { revision, files }
  })
}

/** Converts errors of an invalid response to {@link PullError}. */
async function listing(client: HubClient, list: () => Promise<HubListing>): Promise<HubListing> {
  try {
    return await list()
  } catch (error) {
    client.options.signal?.throwIfAborted()
    if (error instanceof PullError) throw error
    throw new PullError('bad_listing', `${client.options.name} sent an invalid list of files: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/** Refuses names that could be outside the target folder. */
function checkedPath(path: string): string {
  const parts = path.split('/')
  const isUnsafe = parts.some((part) => part === '' || part === '.' || part === '..' || /[\\:\0]/.test(part))
  if (isUnsafe) throw new Error(`a file named ${JSON.stringify(path)}`)
  return path
}

function checkedSize(size: unknown, path: string): number {
  if (typeof size === 'number' && Number.isSafeInteger(size) && size >= 0) return size
  throw new Error(`${path} has size ${JSON.stringify(size)}`)
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}
