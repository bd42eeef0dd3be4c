/** Sockets whose peer is gone without a close: pings find them, and their sessions end. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { type ConnectionPorts, DashScopeDialect, runConnection } from '../../src/realtime/index.ts'

const PING_MS = 60_000

let sockets: WebSocketServer
const sessions: Promise<void>[] = []

beforeAll(async () => {
  // The test triggers the pings.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await once(sockets, 'listening')
  sockets.on('connection', (socket) => {
    const never = new AbortController().signal
    const model = {
      name: 'fake',
      voices: ['Cherry'],
      defaultVoice: 'Cherry',
      checkpoint: 'fake',
      tools: false,
      speaks: true,
      images: false,
    }
    const refuse = (): never => {
      throw new Error('not expected to be called')
    }
    const ports: ConnectionPorts = {
      now: () => performance.now(),
      reply: refuse,
      transcribe: refuse,
      openImage: refuse,
      speechStream: () => ({ push: () => 0 }),
      log: () => undefined,
    }
    const limits = {
      turns: 8,
      spokenTurns: 8,
      historyAudio: 'audio' as const,
      turnSeconds: 300,
      turnImages: 8,
      sessionMs: 0,
      idleMs: 0,
      pingMs: PING_MS,
      stallMs: 0,
    }
    const dialect = new DashScopeDialect({ model })
    sessions.push(runConnection(socket, { dialect, ports, limits, stopping: never, signal: never }))
  })
})
afterAll(async () => {
  vi.useRealTimers()
  await new Promise((resolve) => sockets.close(resolve))
})

const connect = (options: object): WebSocket =>
  new WebSocket(`ws://127.0.0.1:${(sockets.address() as AddressInfo).port}`, options)

it('a connection that answers no ping is closed, one that does stays open', async () => {
  const living = connect({})
  await once(living, 'message')
  const [answering] = sockets.clients
  const gone = connect({ autoPong: false })
  await once(gone, 'message')
  const closed = once(gone, 'close')
  for (let pings = 0; pings < 5; pings += 1) {
    const answered = once(answering!, 'pong')
    vi.advanceTimersByTime(PING_MS)
    await answered
  }
  // 1006: cut, without a close frame.
  const [code] = (await closed) as [number]
  expect(code).toBe(1006)
  await sessions[1]
  expect(living.readyState).toBe(WebSocket.OPEN)
  living.close()
  await Promise.all(sessions)
})
