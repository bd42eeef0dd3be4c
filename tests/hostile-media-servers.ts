/**
 * Misbehaving servers on the loopback address, for the hostile media tests: one plain HTTP server whose path selects
 * the fault, and a raw one for what HTTP libraries do not send.
 */
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'

export interface HostileServers extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` of the HTTP server; allowed by its `HOST:PORT`. */
  readonly origin: string
  readonly hostPort: string
  readonly port: number
  /** A second loopback server that no test may ever reach. */
  readonly forbiddenPort: number
  /** Requests the forbidden server has seen. */
  forbiddenHits(): number
  /** Bytes that the endless answers have written: stopping early keeps this small. */
  endlessBytes(): number
  /** Connections open at this moment. */
  open(): number
}

export async function startHostileServers(files: ReadonlyMap<string, Buffer>): Promise<HostileServers> {
  let hits = 0
  let endless = 0
  const sockets = new Set<net.Socket>()
  const forbidden = http.createServer((_request, response) => {
    hits += 1
    response.end('secret')
  })
  await listen(forbidden)
  const forbiddenPort = (forbidden.address() as AddressInfo).port

  const server = http.createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://x')
    const [, action, ...rest] = url.pathname.split('/')
    const argument = rest.join('/')
    switch (action) {
      case 'file':
        response.end(files.get(argument))
        return
      case 'status':
        response.writeHead(Number(argument)).end('no')
        return
      case 'redirect': // to the query's target
        response.writeHead(302, { location: url.searchParams.get('to') ?? '' }).end()
        return
      case 'loop':
        response.writeHead(302, { location: `/loop/${Number(argument) + 1}` }).end()
        return
      case 'type':
        response.writeHead(200, { 'content-type': argument }).end('<html></html>')
        return
      case 'endless': {
        response.write(files.get(argument) ?? '')
        const block = Buffer.alloc(65_536, 1)
        const more = () => {
          while (!response.destroyed && response.write(block)) endless += block.length
        }
        response.on('drain', more)
        more()
        return
      }
      case 'dribble': {
        response.write('\x89PNG\r\n\x1a\n')
        const timer = setInterval(() => response.write('x'), 20)
        response.on('close', () => clearInterval(timer))
        return
      }
      case 'silent': // headers and one byte, then nothing
        response.write('x')
        return
      case 'mute': // not even headers
        return
      case 'short': // declares more than it sends
        response.writeHead(200, { 'content-length': '100000' })
        response.write('\x89PNG\r\n\x1a\n', () => response.destroy())
        return
      case 'huge':
        response.writeHead(200, { 'content-length': '99999999999' })
        response.write('x')
        return
      case 'gzip':
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(Buffer.alloc(100))
        return
      default:
        response.writeHead(404).end()
    }
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await listen(server)
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    hostPort: `127.0.0.1:${port}`,
    port,
    forbiddenPort,
    forbiddenHits: () => hits,
    endlessBytes: () => endless,
    open: () => sockets.size,
    async [Symbol.asyncDispose]() {
      for (const each of [server, forbidden]) {
        each.closeAllConnections()
        each.close()
      }
      await Promise.all([once(server, 'close'), once(forbidden, 'close')])
    },
  }
}

/** A server that answers every connection with these bytes and closes it. */
export async function startRawServer(answer: Buffer): Promise<AsyncDisposable & { port: number }> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(answer))
  })
  await listen(server)
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close()
      await once(server, 'close')
    },
  }
}

async function listen(server: net.Server): Promise<void> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
}
