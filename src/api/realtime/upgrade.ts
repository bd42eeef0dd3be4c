/**
 * WebSocket handshakes through the app: routes and middleware decide as they do for other requests.
 *
 * In: a server and the app's fetch. A route that accepts the connection calls `upgrade.accept` and answers 204; any
 * other answer is sent as plain HTTP, with its body, and the socket is closed. Reference: RFC 6455, section 4.2.
 */
import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'

/** A handshake that a route may accept. */
export interface Upgrade {
  accept(run: (socket: WebSocket) => void): void
}

type Fetch = (request: Request, environment: { readonly upgrade: Upgrade }) => Promise<Response>

/** 15 MiB of audio in Base64, and the event around it. */
const MAX_MESSAGE_BYTES = 21 * 1024 * 1024

/** Handles the server's WebSocket handshakes. */
export function attachUpgrades(server: Server, fetch: Fetch): void {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    // Subprotocols that contain a key are not selected.
    handleProtocols: (offered) => [...offered].find((name) => !name.startsWith('openai-')) ?? false,
  })
  server.on('upgrade', (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
    const ignore = (): void => undefined
    socket.on('error', ignore)
    void handshake(incoming, socket, fetch).then((run) => {
      if (run === undefined) return
      socket.off('error', ignore)
      sockets.handleUpgrade(incoming, socket, head, run)
    })
  })
}

/** The handler to run on the socket; undefined when it was refused. */
async function handshake(
  incoming: IncomingMessage,
  socket: Duplex,
  fetch: Fetch,
): Promise<((socket: WebSocket) => void) | undefined> {
  let accepted: ((socket: WebSocket) => void) | undefined
  const gone = new AbortController()
  socket.once('close', () => gone.abort())
  try {
    const request = requestOf(incoming, gone.signal)
    const response = await fetch(request, { upgrade: { accept: (run) => (accepted = run) } })
    if (accepted !== undefined && !socket.destroyed) return accepted
    if (!socket.destroyed) await refuse(socket, response)
  } catch {
    socket.destroy()
  }
  return undefined
}

function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request {
  const headers = new Headers()
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value)
  }
  const url = new URL(incoming.url ?? '/', `http://${incoming.headers.host ?? 'localhost'}`)
  return new Request(url, { method: 'GET', headers, signal })
}

async function refuse(socket: Duplex, response: Response): Promise<void> {
  const body = Buffer.from(await response.arrayBuffer())
  const lines = [`HTTP/1.1 ${response.status} ${STATUS_CODES[response.status] ?? ''}`]
  for (const [name, value] of response.headers) {
    if (name !== 'connection' && name !== 'content-length' && name !== 'transfer-encoding')
      lines.push(`${name}: ${value}`)
  }
  lines.push('connection: close', `content-length: ${body.length}`, '', '')
  socket.end(Buffer.concat([Buffer.from(lines.join('\r\n')), body]))
}
