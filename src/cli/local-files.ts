/**
 * Local files, served by URL to the server in this process while a command runs: those too large for a data URI.
 *
 * Listens on the loopback address only; a file's URL cannot be guessed.
 */
import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export class LocalFiles implements AsyncDisposable {
  readonly #server: Server
  readonly #paths = new Map<string, string>()
  /** `127.0.0.1:PORT`, to be allowed in the media settings. */
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
    server.on('request', (request, response) => void files.#answer(request, response))
    return files
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
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

  /** A URL under which the file can be fetched until this is disposed. */
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
