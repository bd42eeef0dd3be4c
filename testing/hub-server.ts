/** A local server that answers as Hugging Face and ModelScope do, with faults on request. */

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Returns true when it has answered (or broken) the request itself. */
export type Mischief = (request: IncomingMessage, response: ServerResponse) => boolean

export class TestHub implements AsyncDisposable {
  readonly id = 'Qwen/Tiny-Omni'
  readonly commit = '0123456789abcdef0123456789abcdef01234567'
  readonly files: Map<string, Buffer>
  /** Stored as git blobs (with a SHA-1) instead of large files (with a SHA-256). */
  readonly plain: ReadonlySet<string>
  /** Listed by ModelScope without a hash. */
  readonly withoutHash = new Set<string>()
  /** Called before any request is answered. */
  mischief: Mischief = () => false
  /** `GET /path range auth` of all requests so far, content requests redirected to the second host included. */
  readonly log: { path: string; range: string | undefined; authorization: string | undefined; host: 'hub' | 'cdn' }[] =
    []
  /** Required by the hub when set. */
  token: string | undefined
  /** Entries added to the listing as they are. */
  extraEntries: object[] = []
  readonly #hub: Server
  readonly #cdn: Server

  constructor(files: Readonly<Record<string, Buffer | string>>, plain: readonly string[] = []) {
    this.files = new Map(Object.entries(files).map(([name, content]) => [name, Buffer.from(content)]))
    this.plain = new Set(plain)
    this.#hub = createServer((request, response) => this.#answer('hub', request, response))
    this.#cdn = createServer((request, response) => this.#answer('cdn', request, response))
  }

  async start(): Promise<this> {
    for (const server of [this.#hub, this.#cdn]) await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    return this
  }

  get endpoint(): string {
    return urlOf(this.#hub)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    }
  }

  /** Requests for a file's content. */
  contentRequests(file: string): (typeof this.log)[number][] {
    return this.log.filter((entry) => entry.host === 'cdn' && entry.path.includes(file))
  }

  #answer(host: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, 'http://x')
    const { authorization, range } = request.headers
    this.log.push({ path: url.pathname + url.search, range, authorization, host })
    if (this.mischief(request, response)) return
    if (host === 'cdn') {
      const file = decodeURIComponent(url.pathname.slice(1))
      return sendContent(this.files.get(file)!, request, response)
    }
    if (this.token !== undefined && authorization !== `Bearer ${this.token}`)
      return sendJson(response, 401, { error: 'no' })
    const { pathname, searchParams } = url
    if (pathname === `/api/models/${this.id}/revision/main`) {
      return sendJson(response, 200, { _id: '1', id: this.id, sha: this.commit, lastModified: '2026-01-01T00:00:00Z' })
    }
    if (pathname === `/api/models/${this.id}/tree/${this.commit}`) return this.#tree(searchParams, response)
    if (pathname === `/api/v1/models/${this.id}/repo/files`) {
      const list = [...this.files].map(([path, content]) => ({
        Path: path,
        Name: path.split('/').at(-1),
        Type: 'blob',
        Size: content.length,
        Sha256: this.withoutHash.has(path) ? '' : createHash('sha256').update(content).digest('hex'),
      }))
      return sendJson(response, 200, {
        Code: 200,
        Data: { Files: [{ Path: 'folder', Type: 'tree', Size: 0 }, ...list, ...this.extraEntries] },
      })
    }
    const file =
      pathname === `/api/v1/models/${this.id}/repo`
        ? searchParams.get('FilePath')
        : pathname.startsWith(`/${this.id}/resolve/${this.commit}/`)
          ? decodeURIComponent(pathname.split('/').slice(5).join('/'))
          : null
    if (file === null || !this.files.has(file)) return sendJson(response, 404, { error: 'Entry not found' })
    response.writeHead(302, { location: `${urlOf(this.#cdn)}/${encodeURIComponent(file)}` }).end()
  }

  /** Two entries a page, linked as the hub does. */
  #tree(query: URLSearchParams, response: ServerResponse): void {
    const entries = [
      { type: 'directory', path: 'folder', size: 0, oid: 'x' },
      ...[...this.files].map(([path, content]) => ({
        type: 'file',
        path,
        size: content.length,
        oid: createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex'),
        ...(this.plain.has(path)
          ? {}
          : {
              lfs: { oid: createHash('sha256').update(content).digest('hex'), size: content.length, pointerSize: 130 },
            }),
      })),
      ...this.extraEntries,
    ]
    const from = Number(query.get('cursor') ?? 0)
    if (from + 2 < entries.length) {
      const next = `${this.endpoint}/api/models/${this.id}/tree/${this.commit}?recursive=true&cursor=${from + 2}`
      response.setHeader('link', `<${next}>; rel="next"`)
    }
    sendJson(response, 200, entries.slice(from, from + 2))
  }
}

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** With ranges, as content hosts do. */
export function sendContent(content: Buffer, request: IncomingMessage, response: ServerResponse): void {
  const match = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')
  if (match === null) {
    response.writeHead(200, { 'content-length': content.length }).end(content)
    return
  }
  const from = Number(match[1])
  if (from >= content.length) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end()
    return
  }
  response
    .writeHead(206, {
      'content-length': content.length - from,
      'content-range': `bytes ${from}-${content.length - 1}/${content.length}`,
    })
    .end(content.subarray(from))
}
