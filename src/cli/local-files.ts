/**
 * Serves local files that are too large for a data URI to the API server in this process.
 *
 * Listens on the loopback address only, and the URLs are random, so that others cannot guess them.
 */
import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export class LocalFiles implements AsyncDisposable {
  readonly #server: Server
  readonly #paths = new Map<string, string>()
  /** `127.0.0.1:PORT`, which the media settings must allow. */
  readonly host: string

  private constructor(server: Server) {
    this.#server = server
    this.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  static async start(): Promise<LocalFiles> {
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', resolve)
    })
    server.unref()
    const files = new LocalFiles(server)
    server.on('request', (request, response) => void files.#serve(request, response))
    return files
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = this.#paths.get(request.url ?? '')
    const stats = path === undefined ? undefined : await stat(path).catch(() => undefined)
    if (path === undefined || stats === undefined) {
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, { 'content-length': stats.size, 'content-type': 'application/octet-stream' })
    createReadStream(path)
      .on('error', () => response.destroy())
      .pipe(response)
  }

  /** Returns a URL of the file that is valid until this object is disposed. */
  share(path: string): string {
    const name = `/${randomUUID()}`
    this.#paths.set(name, path)
    return `http://${this.host}${name}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }
}
