/**
 * A server that plays recordings of peers, for tests of adapters: it can pace, stop in the middle, fall silent,
 * answer late and be unhealthy, and it records its requests.
 *
 * In: a table of rows, searched from the top. Out: a server on a free loopback port. It knows nothing of models; a row
 * may shape its recording by the request (`shape`), to the length and stop strings that a real peer would keep.
 */

import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import path from 'node:path'

const folder = path.join(import.meta.dirname, '..', 'testdata', 'remote-streams')

export type Body = Readonly<Record<string, unknown>>

/** A row's answer. */
export interface Reply {
  /** Default 200. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Whole answer: text, or JSON for anything else. */
  readonly body?: unknown
  /** Events of a stream, each `data: ...` without the empty line. */
  readonly events?: readonly string[]
  /** Milliseconds before the answer. */
  readonly delay?: number
  /** Milliseconds before each event. Default 0: as fast as they are read. */
  readonly pace?: number
  /** After so many events: the connection is closed in order, reset, or nothing more is sent. */
  readonly stop?: { readonly after: number; readonly how: 'close' | 'reset' | 'silence' }
}

export interface Row {
  readonly method?: 'GET' | 'POST'
  readonly path: string
  readonly when?: (body: Body, seen: readonly Seen[]) => boolean
  readonly reply: Reply | ((body: Body) => Reply)
}

export interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: Body
  /** The caller closed the connection before the answer was complete. */
  aborted: boolean
}

export interface ReplayServer extends AsyncDisposable {
  readonly url: string
  readonly seen: Seen[]
  /** Replies that are open now. */
  readonly open: number
  /** New rows in front of those there are. */
  prepend(...rows: readonly Row[]): void
  /** Looks at requests before they are answered, and may end their connection. */
  onRequest(look: (request: IncomingMessage, socket: Socket) => void): void
  /** Resets every connection and stops listening, as a killed process would. */
  kill(): Promise<void>
}

/** Events of a recording, with ids and times that are unique to every request. */
export function recording(name: string): readonly string[] {
  const text = readFileSync(path.join(folder, name), 'utf8')
  return text.split('\n\n').filter((event) => event.trim() !== '')
}

export interface Recorded {
  readonly request: string
  readonly status: number
  readonly body: unknown
}

/** Short answers of a peer, by the start of the request. */
export function answerTo(peer: string, request: string): { readonly status: number; readonly body: unknown } {
  const all: readonly Recorded[] = JSON.parse(readFileSync(path.join(folder, peer, 'answers.json'), 'utf8'))
  const found = all.find((answer) => answer.request.startsWith(request))
  if (!found) throw new Error(`no recorded answer of ${peer} to ${request}`)
  return { status: found.status, body: found.body }
}

/** @param port 0 for a free one */
export async function startReplay(rows: readonly Row[], port = 0): Promise<ReplayServer> {
  let table = [...rows]
  const seen: Seen[] = []
  let open = 0
  const server = createServer((request, response) => {
    void (async () => {
      const body = await readBody(request)
      const { pathname } = new URL(request.url ?? '/', 'http://replay')
      const note: Seen = {
        method: request.method ?? '',
        path: pathname,
        headers: request.headers,
        body,
        aborted: false,
      }
      const before = [...seen]
      seen.push(note)
      const row = table.find(
        (candidate) =>
          candidate.path === pathname &&
          (candidate.method ?? request.method) === request.method &&
          (candidate.when?.(body, before) ?? true),
      )
      open += 1
      response.once('close', () => {
        open -= 1
        note.aborted = !response.writableFinished
      })
      const reply = row === undefined ? { status: 404, body: { detail: 'Not Found' } } : row.reply
      await answer(response, typeof reply === 'function' ? reply(body) : reply)
    })().catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const kill = async (): Promise<void> => {
    server.closeAllConnections()
    await closed(server)
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    get open() {
      return open
    },
    onRequest: (look) => void server.prependListener('request', (request) => look(request, request.socket)),
    prepend: (...more) => {
      table = [...more, ...table]
    },
    kill,
    [Symbol.asyncDispose]: kill,
  }
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

async function readBody(request: IncomingMessage): Promise<Body> {
  let text = ''
  for await (const piece of request.setEncoding('utf8')) text += String(piece)
  if (text === '') return {}
  const json: Body = JSON.parse(text)
  return json
}

let replies = 0

async function answer(response: ServerResponse, reply: Reply): Promise<void> {
  if (reply.delay !== undefined) await sleep(reply.delay)
  const { status = 200, headers = {} } = reply
  if (reply.events === undefined) {
    const json = typeof reply.body !== 'string'
    response.writeHead(status, { 'content-type': json ? 'application/json' : 'text/plain', ...headers })
    response.end(json ? JSON.stringify(reply.body) : reply.body)
    return
  }
  replies += 1
  const id = `chatcmpl-replay-${replies}`
  const created = Math.floor(Date.now() / 1000)
  response.writeHead(status, { 'content-type': 'text/event-stream; charset=utf-8', ...headers })
  response.flushHeaders()
  for (const [index, event] of reply.events.entries()) {
    if (reply.stop?.after === index) return stop(response, reply.stop.how)
    if (reply.pace !== undefined) await sleep(reply.pace)
    const text = event
      .replace(/"id": ?"chatcmpl-[^"]*"/, `"id":"${id}"`)
      .replace(/"created": ?\d+/, `"created":${created}`)
    if (response.destroyed) return
    if (!response.write(`${text}\n\n`)) await drained(response)
  }
  if (reply.stop?.after === reply.events.length) return stop(response, reply.stop.how)
  response.end()
}

function stop(response: ServerResponse, how: 'close' | 'reset' | 'silence'): void {
  if (how === 'close') response.end()
  else if (how === 'reset') response.socket?.resetAndDestroy()
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      response.off('drain', go)
      response.off('close', go)
      resolve()
    }
    response.once('drain', go)
    response.once('close', go)
  })
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds).unref()
  })
}

export interface ShapeOptions {
  /** How often the recording's text is repeated. */
  readonly times?: number
  readonly maxTokens: number
  readonly stop?: readonly string[]
}

interface Chunk {
  readonly modality?: string
  readonly choices: readonly {
    readonly delta?: { readonly content?: string; readonly role?: string; readonly audio?: unknown }
  }[]
  readonly usage?: object
}

/**
 * A recording's text repeated, and cut at a limit or a stop string as the peer would cut it: it ends with the
 * recording's own last chunk, with its reason and count changed.
 */
export function shape(events: readonly string[], { times = 1, maxTokens, stop = [] }: ShapeOptions): readonly string[] {
  const chunks = events
    .filter((event) => !event.includes('[DONE]'))
    .map((event): Chunk => JSON.parse(event.slice('data: '.length)))
  const isAudio = (chunk: Chunk): boolean => chunk.modality === 'audio' || chunk.choices[0]?.delta?.audio !== undefined
  const isToken = (chunk: Chunk): boolean => !isAudio(chunk) && (chunk.choices[0]?.delta?.content ?? '') !== ''
  const tokens = Array.from({ length: times }, () => chunks.filter(isToken)).flat()
  const first = chunks.filter(
    (chunk) => chunk.choices[0]?.delta?.role !== undefined && !isAudio(chunk) && !isToken(chunk),
  )
  const kept: Chunk[] = []
  let text = ''
  let reason = 'stop'
  let stopReason: string | null = null
  for (const chunk of tokens) {
    if (kept.length === maxTokens) {
      reason = 'length'
      break
    }
    const content = chunk.choices[0]?.delta?.content ?? ''
    const found = stop.find((candidate) => (text + content).includes(candidate))
    if (found !== undefined) {
      stopReason = found
      const rest = (text + content).slice(text.length, (text + content).indexOf(found))
      // A real peer holds back the beginning of a stop string, and so does this one.
      const over = text.length - (text + content).indexOf(found)
      if (over > 0) trimEnd(kept, over)
      if (rest !== '') kept.push(withContent(chunk, rest))
      break
    }
    text += content
    kept.push(chunk)
  }
  const audio = chunks.filter((chunk) => isAudio(chunk))
  const last = chunks.findLast((chunk) => JSON.stringify(chunk).match(/"finish_reason":"\w+"/) !== null)
  const usage = chunks.findLast((chunk) => chunk.usage !== undefined && chunk.choices.length === 0)
  const count = kept.length + (reason === 'stop' && stopReason === null ? 1 : 0)
  const end = (chunk: Chunk): string =>
    JSON.stringify(chunk)
      .replace(/"finish_reason":"\w+"/, `"finish_reason":"${reason}"`)
      .replace(/"stop_reason":null/, `"stop_reason":${JSON.stringify(stopReason)}`)
      .replace(/"completion_tokens":\d+/, `"completion_tokens":${count}`)
  // With audio its last chunk ends the reply, as recorded.
  const lastIsAudio = last !== undefined && isAudio(last)
  const body = [
    ...first,
    ...kept.slice(0, 3),
    ...(audio[0] ? [audio[0]] : []),
    ...kept.slice(3),
    ...audio.slice(1, lastIsAudio ? -1 : undefined),
  ]
  const out = body.map((chunk) => JSON.stringify(chunk))
  if (last && lastIsAudio) out.push(JSON.stringify(last))
  else if (last) out.push(end(last))
  if (usage) out.push(end(usage))
  return [...out.map((json) => `data: ${json}`), 'data: [DONE]']
}

function withContent(chunk: Chunk, content: string): Chunk {
  const [choice] = chunk.choices
  return { ...chunk, choices: [{ ...choice, delta: { ...choice?.delta, content } }] }
}

function trimEnd(kept: Chunk[], characters: number): void {
  let left = characters
  while (left > 0) {
    const last = kept.pop()
    if (!last) return
    const content = last.choices[0]?.delta?.content ?? ''
    if (content.length > left) kept.push(withContent(last, content.slice(0, -left)))
    left -= content.length
  }
}
