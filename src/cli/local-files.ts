/**
 * Files of this machine, lent to our own front door by URL while a command runs: what is too large for a data URI.
 *
 * Listens on the loopback address only; a file is found under a name that cannot be guessed.
 */
import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
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
    server.on('request', (request, response) => {
      const path = files.#paths.get(request.url ?? '')
      if (path === undefined) {
        response.writeHead(404).end()
        return
      }
      stat(path).then(
        ({ size }) => {
          response.writeHead(200, { 'content-length': size, 'content-type': 'application/octet-stream' })
          createReadStream(path)
            .on('error', () => response.destroy())
            .pipe(response)
        },
        () => response.writeHead(404).end(),
      )
    })
    return files
  }

  /** A URL under which the file can be fetched until this is disposed. */
  lend(path: string): string {
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
