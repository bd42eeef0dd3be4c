/**
 * Answers requests that Node's HTTP parser refuses, before any route sees them: as the wire's errors, where Node's own
 * answer has no body.
 */
import { randomUUID } from 'node:crypto'
import { maxHeaderSize, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type ApiError, errors } from '../protocol/index.ts'

export function answerUnreadableRequests(server: Server): void {
  const latest = new WeakMap<Duplex, ServerResponse>()
  server.on('request', ({ socket }, response) => void latest.set(socket, response))
  server.on('clientError', (fault: NodeJS.ErrnoException & { reason?: string }, socket: Duplex) => {
    const response = latest.get(socket)
    // A second status line would end up inside the reply that is being sent.
    const isOpen = response !== undefined && !response.writableFinished
    if (fault.code === 'ECONNRESET' || !socket.writable || (isOpen && response.headersSent))
      return void socket.destroy()
    const limit = isOpen ? server.requestTimeout : server.headersTimeout
    socket.end(written(errorOf(fault, limit / 1000)))
  })
}

function errorOf({ code, reason, message }: NodeJS.ErrnoException & { reason?: string }, seconds: number): ApiError {
  if (code === 'HPE_HEADER_OVERFLOW') return errors.headersTooLarge(maxHeaderSize)
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return errors.bodyTimedOut(seconds)
  return errors.requestMalformed(reason ?? message)
}

function written(error: ApiError): string {
  const id = randomUUID()
  const body = JSON.stringify(error.toBody(id))
  const head = [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${id}`,
    'connection: close',
  ]
  return `${head.join('\r\n')}\r\n\r\n${body}`
}
