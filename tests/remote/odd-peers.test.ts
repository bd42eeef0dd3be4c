/**
 * What peers may do with bytes, events and connections: cut anywhere, other line ends, comments, errors in other
 * shapes, events of megabytes, data after the end.
 * Reference: the SSE specification; the checklist of docs/cluster.md.
 */
import { createServer, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createSocketServer, type Socket } from 'node:net'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { VOICES } from '../../src/catalogue/index.ts'
import { EngineError } from '../../src/contract/index.ts'
import { mapVoices } from '../../src/engines/local/voices.ts'
import type { AdapterName } from '../../src/engines/remote/adapter.ts'
import { ADAPTERS } from '../../src/engines/remote/adapters.ts'
import { effectOf } from '../../src/engines/remote/remote-error.ts'
import { RemoteEngine } from '../../src/engines/remote/remote-engine.ts'
import type { TransportLimits } from '../../src/engines/remote/transport.ts'
import { makeRequest, readReply } from '../../testing/requests.ts'
import { eventually, until } from '../../testing/until.ts'

const open: (() => PromiseLike<unknown> | void)[] = []
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

const STREAM = { 'content-type': 'text/event-stream' }
const generous = { idle: 60_000, ask: 30_000 }

function engineOf(adapter: AdapterName, url: string, limits: Partial<TransportLimits> = generous): RemoteEngine {
  const options = { model: 'nano', voices: mapVoices(VOICES), speakers: ['cherry'], output: ['text', 'audio'] as const }
  const engine = new RemoteEngine({ adapter: ADAPTERS[adapter], id: 'nano', url, peer: options, limits })
  open.push(() => engine.close())
  return engine
}

async function listening(server: Server | ReturnType<typeof createSocketServer>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** A peer that answers every request with this. */
async function peer(
  adapter: AdapterName,
  answer: (response: ServerResponse) => void | Promise<void>,
  limits?: Partial<TransportLimits>,
): Promise<{ readonly engine: RemoteEngine; readonly sockets: ReadonlySet<Socket> }> {
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => {
    sockets.add(request.socket)
    request.resume().once('end', () => void answer(response))
  })
  const port = await listening(server)
  open.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { engine: engineOf(adapter, `http://127.0.0.1:${port}`, limits), sockets }
}

const chunk = (delta: object, finish: string | null = null, more: object = {}): object => ({
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...more,
})
const event = (json: object): string => `data: ${JSON.stringify(json)}\n\n`
const WORDS = ['Ein', ' kühler', ' 😀', ' 早上好', '.']
const SENTENCE = WORDS.join('')
const USAGE = { prompt_tokens: 9, completion_tokens: 6, total_tokens: 15 }
const WHOLE = [
  event(chunk({ role: 'assistant', content: '' })),
  ...WORDS.map((content) => event(chunk({ content }))),
  event(chunk({}, 'stop')),
  event({ choices: [], usage: USAGE }),
  'data: [DONE]\n\n',
].join('')

const written = makeRequest({ model: 'nano' })
const spoken = makeRequest({ model: 'nano', voice: 'Cherry' })

const whole = (text: string) => (response: ServerResponse) => {
  response.writeHead(200, STREAM)
  response.end(text)
}

async function failure(engine: RemoteEngine) {
  try {
    await readReply(engine, written)
  } catch (error) {
    if (error instanceof EngineError) return { code: error.code, effect: effectOf(error), message: error.message }
    throw error
  }
  throw new Error('it did not fail')
}

describe('the bytes of a stream', () => {
  it('may be cut anywhere, even inside a character', async () => {
    const { engine } = await peer('vllm', async (response) => {
      response.writeHead(200, STREAM)
      for (const byte of Buffer.from(WHOLE)) {
        response.write(Buffer.of(byte))
        await turn()
      }
      response.end()
    })
    const reply = await readReply(engine, written)
    expect([reply.text, reply.reason, reply.usage.textTokens, reply.usage.prompt?.total]).toEqual([
      SENTENCE,
      'stop',
      5,
      9,
    ])
  })

  it.each([
    ['line ends of CR LF', WHOLE.replaceAll('\n', '\r\n')],
    ['line ends of CR', WHOLE.replaceAll('\n', '\r')],
    ['no space after the colon', WHOLE.replaceAll('data: ', 'data:')],
    ['a byte order mark', `\uFEFF${WHOLE}`],
    ['comments and other fields', WHOLE.replaceAll('data: ', ': ping\nid: 7\nretry: 10\nevent: message\ndata: ')],
    ['events over several lines', WHOLE.replaceAll('data: {"choices":', 'data: {\ndata: "choices":')],
    ['events without data', WHOLE.replaceAll('data: ', 'data:\n\nevent: ping\n\ndata: ')],
    ['a null as error in every chunk', WHOLE.replaceAll('data: {', 'data: {"error":null,')],
  ])('may have %s', async (_, text) => {
    for (const adapter of ['vllm', 'vllm-omni', 'sglang-omni', 'omniserve', 'dashscope'] as const) {
      const { engine } = await peer(adapter, whole(text))
      const reply = await readReply(engine, written)
      expect([adapter, reply.text, reply.reason]).toEqual([adapter, SENTENCE, 'stop'])
    }
  })

  it('may have a content type in capitals', async () => {
    const { engine } = await peer('vllm', (response) => {
      response.writeHead(200, { 'content-type': 'Text/Event-Stream; Charset=UTF-8' })
      response.end(WHOLE)
    })
    expect((await readReply(engine, written)).text).toBe(SENTENCE)
  })

  it('end with an error where an event has no end', async () => {
    const { engine } = await peer('vllm', async (response) => {
      response.writeHead(200, STREAM)
      response.write('data: ')
      const block = Buffer.alloc(1 << 22, 'A')
      while (!response.destroyed) {
        if (!response.writableNeedDrain) response.write(block)
        await turn()
      }
    })
    expect(await failure(engine)).toMatchObject({ code: 'upstream_failed', effect: 'eject' })
  })
})

describe('the events of a stream', () => {
  it('may be empty, contain other choices, and have usage before the end', async () => {
    const text = [
      event({}),
      event({ choices: [] }),
      event({ choices: [{}] }),
      event({ choices: [{ index: 0, delta: null }], usage: {} }),
      event({ choices: [{ index: 1, delta: { content: 'another' } }] }),
      event(chunk({ content: 'one' }, null, { usage: USAGE })),
      event({
        choices: [
          { index: 1, delta: { content: 'another' }, finish_reason: 'length' },
          { index: 0, delta: { content: ' two' } },
        ],
      }),
      event(chunk({ content: '' }, 'stop')),
      'data: [DONE]\n\n',
    ].join('')
    const { engine } = await peer('vllm', whole(text))
    const reply = await readReply(engine, written)
    expect([reply.text, reply.reason, reply.usage.prompt?.total]).toEqual(['one two', 'stop', 9])
  })

  it('may be megabytes long', async () => {
    const pcm = Buffer.alloc(4_000_000)
    for (let at = 0; at < pcm.length; at += 2) pcm.writeInt16LE((at * 7919) % 32_749, at)
    const content = pcm.toString('base64')
    const audio = event(chunk({ content }, null, { modality: 'audio' }))
    const { engine } = await peer('vllm-omni', whole(WHOLE.replace('data: [DONE]\n\n', `${audio}data: [DONE]\n\n`)))
    const reply = await readReply(engine, spoken)
    expect(reply.text).toBe(SENTENCE)
    expect(Buffer.from(reply.pcm.buffer, reply.pcm.byteOffset, reply.pcm.byteLength).equals(pcm)).toBe(true)
  })

  const failures = [
    ['an object named error', `data: {"object":"error","message":"no","type":"ServerError","code":500}\n\n`],
    ['an event named error', `event: error\ndata: {"code":"InternalError","message":"no"}\n\n`],
    ['an event named error that is text', `event: error\ndata: no\n\n`],
    ['an error that is text', `data: {"error":"no"}\n\n`],
    ['an error of another shape', `data: {"error":["no"]}\n\n`],
    ['an error beside choices', `data: {"choices":[],"error":{"message":"no","code":500}}\n\n`],
  ] as const
  it.each(failures)('may be %s, which is a failed reply even with an end mark', async (_, text) => {
    for (const adapter of ['vllm', 'vllm-omni', 'sglang-omni', 'omniserve', 'dashscope'] as const) {
      const { engine } = await peer(adapter, whole(event(chunk({ content: 'one' })) + text + 'data: [DONE]\n\n'))
      expect([adapter, await failure(engine)]).toEqual([
        adapter,
        expect.objectContaining({ code: 'upstream_failed', effect: 'strike' }),
      ])
    }
  })

  it('may be only comments for longer than the idle limit', async () => {
    let pauses = 0
    const { engine } = await peer(
      'vllm',
      async (response) => {
        response.writeHead(200, STREAM)
        response.write(event(chunk({ content: 'one' })))
        for (; pauses < 20; pauses += 1) {
          response.write(': keep-alive\n\n')
          await sleep(100)
        }
        response.end(event(chunk({ content: ' two' }, 'stop')) + 'data: [DONE]\n\n')
      },
      { idle: 1500 },
    )
    expect([(await readReply(engine, written)).text, pauses]).toEqual(['one two', 20])
  })

  it('are ignored after the end mark', async () => {
    const { engine } = await peer('vllm', whole(WHOLE + event(chunk({ content: 'more' })) + 'data: broken\n\n'))
    expect((await readReply(engine, written)).text).toBe(SENTENCE)
  })
})

describe('a connection', () => {
  it('is reused when it ends shortly after the end mark', async () => {
    let end: () => void = () => undefined
    const { engine, sockets } = await peer('vllm', (response) => {
      response.writeHead(200, STREAM)
      response.write(WHOLE)
      end = () => response.end(': end\n\n')
    })
    let asked = 0
    await until(async () => {
      asked += 1
      expect((await readReply(engine, written)).text).toBe(SENTENCE)
      end()
      return sockets.size < asked
    }, 20)
  })

  it('is closed when the peer continues after the end mark', async () => {
    let closed = false
    const { engine } = await peer('vllm', async (response) => {
      response.once('close', () => (closed = true))
      response.writeHead(200, STREAM)
      response.write(WHOLE)
      while (!response.destroyed) {
        response.write(event(chunk({ content: 'more' })))
        await sleep(20)
      }
    })
    expect((await readReply(engine, written)).text).toBe(SENTENCE)
    await eventually(() => expect(closed).toBe(true))
  })

  it('without TLS, or to a name without an address, is reported as such', async () => {
    const { engine } = await peer('vllm', whole(WHOLE))
    const plain = createSocketServer(
      (socket) => void socket.on('error', () => undefined).end('HTTP/1.1 400 Bad\r\n\r\n'),
    )
    const port = await listening(plain)
    open.push(() => void plain.close())
    const secure = await failure(engineOf('vllm', `https://127.0.0.1:${port}`))
    expect(secure).toMatchObject({ code: 'upstream_failed', effect: 'eject' })
    expect(secure.message).toMatch(/TLS/)
    const nowhere = await failure(engineOf('vllm', 'http://peer.invalid:8000'))
    expect(nowhere).toMatchObject({ code: 'upstream_failed', effect: 'eject' })
    expect((await readReply(engine, written)).text).toBe(SENTENCE)
  })
})

describe('an answer of 200 that is JSON', () => {
  it.each([
    ['vllm', { error: { message: 'No key.', code: 401 } }, 'suspend'],
    ['vllm-omni', { object: 'error', message: 'Bad gateway.', code: 502 }, 'strike'],
    [
      'dashscope',
      { error: { message: 'Wrong key.', type: 'invalid_request_error', code: 'invalid_api_key' } },
      'suspend',
    ],
    ['omniserve', { error: { message: 'Busy.', type: 'x', code: 'ModelUnavailable' } }, 'strike'],
    ['vllm', { choices: [{ message: { content: 'whole' } }] }, 'strike'],
  ] as const)('of %s is its error: %j', async (adapter, body, effect) => {
    const { engine } = await peer(adapter, (response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(body))
    })
    expect((await failure(engine)).effect).toBe(effect)
  })
})
