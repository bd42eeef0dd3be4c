/**
 * Every row of the error catalogue, over HTTP. The table is typed by the catalogue's names: a new row without a case
 * here does not compile.
 */
import { readFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { text as textOf } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { MediaError, type MediaErrorCode, mediaErrorCodes } from '../../src/media/index.ts'
import { EngineError } from '../../src/contract/index.ts'
import { type ApiErrorBody, apiErrorBodySchema, type ErrorName } from '../../src/protocol/index.ts'
import { fakeEngine, startTestServer, type TestServer } from '../support/server.ts'

interface Answer {
  readonly status: number
  readonly body: ApiErrorBody
}
interface Case {
  readonly make: () => Promise<Answer>
  readonly status: number
  readonly type?: string
  readonly code?: string | null
  readonly text: string
}

const hello = { model: 'qwen3-omni-flash', stream: true, messages: [{ role: 'user', content: 'hi' }] }
const withPart = (part: unknown, model = 'qwen3-omni-flash') => ({
  ...hello,
  model,
  messages: [{ role: 'user', content: [part] }],
})
const image = (url: string) => withPart({ type: 'image_url', image_url: { url } })
const audio = (data: string) => withPart({ type: 'input_audio', input_audio: { data } })
const video = (url: string) => withPart({ type: 'video_url', video_url: { url } })

/** Throws the media error named by the URL's path: `http://media/too_large`. */
const failing = (source: string): Promise<never> => {
  const code = mediaErrorCodes.find((known) => source.endsWith(`/${known}`))
  return Promise.reject(code === undefined ? new Error('broken') : new MediaError(code, `Because of ${code}.`))
}
const media = {
  image: failing,
  audio: failing,
  video: failing,
  frames: (sources: readonly string[]) => failing(sources[0] ?? ''),
}

let plain: TestServer
let keyed: TestServer
let limited: TestServer
const servers: TestServer[] = []
const start = async (...options: Parameters<typeof startTestServer>): Promise<TestServer> => {
  const server = await startTestServer(options[0], options[1], { media, ...options[2] })
  servers.push(server)
  return server
}

beforeAll(async () => {
  plain = await start({ lenientNonStream: true, maxBodyBytes: 20_000_000 })
  keyed = await start({ apiKey: ['right'] })
  // Its minute does not advance, however long the requests take.
  limited = await start({ rateLimit: true }, undefined, { now: () => 1_700_000_000_000 })
})
afterAll(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]()
})

const read = async (response: Response): Promise<Answer> => ({
  status: response.status,
  body: apiErrorBodySchema.parse(await response.json()),
})
/** The answer to a refused handshake. */
const handshake = (url: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(url.replace(/^http/, 'ws'))
    socket.once('open', () => reject(new Error('the handshake was accepted')))
    socket.once('error', () => undefined)
    socket.once('unexpected-response', (_, response) => {
      const pieces: Buffer[] = []
      response.on('data', (piece: Buffer) => pieces.push(piece))
      response.on('end', () => {
        const body = apiErrorBodySchema.parse(JSON.parse(Buffer.concat(pieces).toString()))
        resolve({ status: response.statusCode ?? 0, body })
      })
    })
  })
/** The answer to bytes that are no request, which ends the connection. */
const sendRaw = async (bytes: string, { url } = plain): Promise<Answer> => {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(bytes)
  const [head = '', body = ''] = (await textOf(socket)).split('\r\n\r\n')
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), body: apiErrorBodySchema.parse(JSON.parse(body)) }
}
const user = (content: string): object => ({ role: 'user', content })
const post = (url: string, body: unknown): Promise<Response> =>
  fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
const chat = (body: unknown) => async () => read(await plain.chat(body))
const changed = (change: Record<string, unknown>) => chat({ ...hello, ...change })
const spoken = { modalities: ['text', 'audio'], audio: { voice: 'Cherry', format: 'wav' } }
const invalid = { status: 400, type: 'invalid_request_error', code: 'invalid_parameter_error' } as const
const onceServed = (error: Error) => async () => {
  const server = await start({}, fakeEngine({ failBefore: () => error }))
  return read(await server.chat(hello))
}

const CASES: Record<ErrorName, Case> = {
  apiKeyMissing: {
    make: async () => read(await keyed.chat(hello)),
    status: 401,
    code: null,
    text: "You didn't provide an API key.",
  },
  apiKeyWrong: {
    make: async () => read(await keyed.chat(hello, { headers: { authorization: 'Bearer wrong' } })),
    status: 401,
    code: 'invalid_api_key',
    text: 'Incorrect API key provided. For details, see: https://www.alibabacloud.com/help/en/model-studio/error-code#apikey-error',
  },
  accessDenied: {
    make: async () => read(await plain.chat(hello, { headers: { origin: 'https://evil.example' } })),
    status: 403,
    type: 'access_denied',
    code: 'access_denied',
    text: 'Access denied.',
  },
  notFound: {
    make: async () => read(await fetch(`${plain.url}/api/v1/chat/completions`)),
    status: 404,
    code: 'not_found',
    text: 'No such path',
  },
  methodNotSupported: {
    ...invalid,
    make: async () => read(await fetch(`${plain.baseUrl}/chat/completions`)),
    text: "Request method 'GET' is not supported.",
  },
  upgradeRequired: {
    make: async () => read(await fetch(`${plain.url}/v1/realtime?model=qwen3-omni-flash-realtime`)),
    status: 426,
    code: 'upgrade_required',
    text: '/v1/realtime is a WebSocket: connect to it with ws:// or wss://.',
  },
  listedModelUnknown: {
    make: () => handshake(`${plain.url}/v1/realtime?model=qwen3-omni-flash-realtim`),
    status: 404,
    code: 'model_not_found',
    text: "does not exist or you do not have access to it. Did you mean 'qwen3-omni-flash-realtime'?",
  },
  requestMalformed: {
    ...invalid,
    make: () => sendRaw('GET /v1/models HTTP/1.1\r\nhost: x\r\na header\r\n\r\n'),
    text: 'The request is not HTTP/1.1: Invalid header token.',
  },
  headersTooLarge: {
    ...invalid,
    status: 431,
    make: () => sendRaw(`GET /v1/models HTTP/1.1\r\nhost: x\r\na: ${'b'.repeat(20_000)}\r\n\r\n`),
    text: "The request's headers are over 16384 bytes.",
  },
  bodyTooLarge: { ...invalid, status: 413, make: chat(`"${'x'.repeat(20_000_001)}"`), text: 'over 20000000 bytes' },
  bodyTimedOut: {
    ...invalid,
    status: 408,
    make: async () => {
      const server = await start({ bodyTimeout: 0.2 })
      const body = new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode('{"model":')) })
      return read(await server.chat('', { body, duplex: 'half' } as RequestInit))
    },
    text: 'it did not arrive within 0.2 s',
  },
  rateLimited: {
    make: async () => {
      for (let sent = 0; sent < 60; sent += 1) await (await limited.chat(hello)).text()
      return read(await limited.chat(hello))
    },
    status: 429,
    type: 'limit_requests',
    code: 'limit_requests',
    text: 'You have exceeded your current request limit. For details, see: ',
  },
  tokenQuotaExceeded: {
    make: async () => {
      const long = { ...hello, model: 'qwen-omni-turbo', messages: [{ role: 'user', content: 'word '.repeat(30_000) }] }
      for (let sent = 0; sent < 4; sent += 1) await (await limited.chat(long)).text()
      return read(await limited.chat(long))
    },
    status: 429,
    type: 'insufficient_quota',
    code: 'insufficient_quota',
    text: 'Allocated quota exceeded, please increase your quota limit.',
  },
  bodyInvalid: { ...invalid, make: chat('{'), text: 'Required body invalid, please check the request body format' },
  modelMissing: { status: 400, code: null, make: chat({}), text: 'you must provide a model parameter' },
  modelNotFound: {
    status: 404,
    code: 'model_not_found',
    make: changed({ model: 'x' }),
    text: 'The model `x` does not exist or you do not have access to it.',
  },
  modelNotSupported: {
    status: 404,
    code: 'model_not_supported',
    make: changed({ model: 'qwen-omni-turbo-realtime' }),
    text: 'Unsupported model `qwen-omni-turbo-realtime` for OpenAI compatibility mode.',
  },
  fieldRequired: { ...invalid, make: chat({ model: 'qwen3-omni-flash' }), text: 'Field required: messages' },
  contentRequired: {
    ...invalid,
    make: changed({ messages: [{ role: 'user' }] }),
    text: 'The content field is a required field.',
  },
  tooShort: { ...invalid, make: changed({ messages: [] }), text: "[] is too short - 'messages'" },
  wrongType: { ...invalid, make: changed({ stream: 1 }), text: "1 is not of type 'boolean' - 'stream'" },
  belowMinimum: { ...invalid, make: changed({ seed: -1 }), text: "-1 is lesser than the minimum of 0 - 'seed'" },
  aboveMaximum: {
    ...invalid,
    make: changed({ seed: 2 ** 31 }),
    text: "is greater than the maximum of 2147483647 - 'seed'",
  },
  roleUnknown: {
    ...invalid,
    make: changed({ messages: [{ role: 'developer', content: '' }] }),
    text: "developer is not one of ['system', 'assistant', 'user', 'tool', 'function'] - 'messages.0.role'",
  },
  partTypeUnknown: {
    status: 400,
    code: 'invalid_value',
    make: chat(withPart({ type: 'audio_url' })),
    text: "Invalid value: audio_url. Supported values are: 'text','image_url','video_url' and 'video'.",
  },
  parameterRange: {
    ...invalid,
    make: changed({ temperature: 2 }),
    text: '<400> InternalError.Algo.InvalidParameter: Temperature should be in [0.0, 2.0)',
  },
  streamOnly: {
    ...invalid,
    make: async () =>
      read(await keyed.chat({ ...hello, stream: false }, { headers: { authorization: 'Bearer right' } })),
    text: 'This model only support stream mode, please enable the stream parameter to access the model. ',
  },
  audioNeedsStream: {
    ...invalid,
    make: changed({ stream: false, ...spoken }),
    text: "'audio' output only support with stream=true",
  },
  thinkingNotSupported: {
    status: 400,
    code: 'InvalidParameter.NotSupportEnableThinking',
    make: changed({ model: 'qwen-omni-turbo', enable_thinking: true }),
    text: 'The model qwen-omni-turbo does not support enable_thinking.',
  },
  thinkingNeedsStream: {
    ...invalid,
    make: changed({ stream: false, enable_thinking: true }),
    text: 'parameter.enable_thinking only support stream call',
  },
  thinkingExcludesAudio: {
    ...invalid,
    make: changed({ ...spoken, enable_thinking: true }),
    text: 'Audio output is not supported when enable_thinking is true',
  },
  thinkingBudget: {
    ...invalid,
    make: changed({ enable_thinking: true, thinking_budget: 1e6 }),
    text: 'The thinking_budget parameter must be a positive integer and not greater than 32768',
  },
  modalitiesUnsupported: {
    ...invalid,
    make: changed({ modalities: ['audio'] }),
    text: "Invalid modalities: ['audio']",
  },
  voiceUnsupported: {
    ...invalid,
    make: changed({ ...spoken, audio: { voice: 'Tina', format: 'wav' } }),
    text: "<400> InternalError.Algo.InvalidParameter: Voice 'Tina' is not supported.",
  },
  voiceNotInList: {
    ...invalid,
    make: changed({ ...spoken, model: 'qwen-omni-turbo', audio: { voice: 'Tina', format: 'wav' } }),
    text: "Input should be 'Cherry', 'Serena', 'Ethan' or 'Chelsie': parameters.audio.voice",
  },
  audioFormatUnsupported: {
    ...invalid,
    make: changed({ ...spoken, audio: { voice: 'Cherry', format: 'mp3' } }),
    text: "Input should be 'wav': parameters.audio.format",
  },
  toolInvalid: {
    ...invalid,
    make: async () => {
      const server = await start({}, fakeEngine({ tools: true }))
      return read(await server.chat({ ...hello, tools: [{ type: 'function', function: {} }] }))
    },
    text: 'tools.0.function.name is not valid',
  },
  toolChoiceWithoutTools: {
    ...invalid,
    make: changed({ ...hello, tool_choice: { type: 'function', function: { name: 'f' } } }),
    text: 'tool_choice cannot force a call without tools',
  },
  toolChoiceWithThinking: {
    ...invalid,
    make: async () => {
      const server = await start({}, fakeEngine({ tools: true }))
      const tool = { type: 'function', function: { name: 'f' } }
      return read(await server.chat({ ...hello, enable_thinking: true, tools: [tool], tool_choice: tool }))
    },
    text: 'tool_choice cannot force a call when enable_thinking is true',
  },
  audioIdUnknown: {
    ...invalid,
    make: async () => {
      const messages = [user('a'), { role: 'assistant', audio: { id: 'audio_x' } }, user('b')]
      return read(await post(`${plain.url}/v1/chat/completions`, { ...hello, messages }))
    },
    text: 'This audio id is unknown or has expired',
  },
  notOneOf: {
    ...invalid,
    make: async () =>
      read(await post(`${plain.url}/v1/audio/speech`, { model: 'fake-omni', input: 'a', response_format: 'aac' })),
    text: "response_format should be one of 'mp3', 'opus', 'wav', 'pcm'.",
  },
  givenTwice: {
    ...invalid,
    make: async () => {
      const body = new FormData()
      for (const model of ['fake-omni', 'qwen3-omni-flash']) body.append('model', model)
      return read(await fetch(`${plain.url}/v1/audio/transcriptions`, { method: 'POST', body }))
    },
    text: 'model may be given only once.',
  },
  notSupportedHere: {
    ...invalid,
    make: async () => read(await post(`${plain.url}/v1/audio/speech`, { model: 'fake-omni', input: 'a', speed: 2 })),
    text: 'speed is not supported: the checkpoint speaks at its own pace.',
  },
  toolsUnsupported: { ...invalid, make: changed({ tools: [{}] }), text: 'The tool call is not supported.' },
  logprobsUnsupported: {
    ...invalid,
    make: changed({ logprobs: true }),
    text: 'This model does not support logprobs: leave out logprobs and top_logprobs.',
  },
  searchUnsupported: {
    ...invalid,
    make: changed({ enable_search: true }),
    text: 'This model does not support enable_search.',
  },
  responseFormatUnsupported: {
    ...invalid,
    make: changed({ response_format: { type: 'json_object' } }),
    text: 'Unknown format of response_format',
  },
  jsonWithThinking: {
    ...invalid,
    make: changed({ enable_thinking: true, response_format: { type: 'json_object' } }),
    text: 'Json mode response is not supported when enable_thinking is true',
  },
  toolChoiceUnknown: {
    ...invalid,
    make: changed({ tool_choice: 'required' }),
    text: 'tool_choice is one of the strings that should be ["none", "auto"]',
  },
  onlyOneChoice: { ...invalid, make: changed({ n: 3 }), text: 'Range of n should be [1, 1]' },
  stopMixed: { ...invalid, make: changed({ stop: ['a', 1] }), text: 'stop should be a string' },
  noUserMessage: {
    ...invalid,
    make: changed({ messages: [{ role: 'system', content: 'x' }] }),
    text: 'The input messages do not contain elements with the role of user.',
  },
  lastMessageNotUser: {
    ...invalid,
    make: changed({ messages: [...hello.messages, { role: 'assistant', content: 'x' }] }),
    text: 'The last message should have the role of user.',
  },
  assistantTextOnly: {
    ...invalid,
    make: changed({ messages: [{ role: 'assistant', content: [{ type: 'image_url', image_url: 'http://a' }] }] }),
    text: 'An assistant message may contain text only',
  },
  systemTextOnly: {
    ...invalid,
    make: changed({ messages: [{ role: 'system', content: [{ type: 'video', video: [] }] }] }),
    text: 'A system message may contain text only',
  },
  mixedModalities: {
    ...invalid,
    make: changed({
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: 'http://a' },
            { type: 'video_url', video_url: 'http://a' },
          ],
        },
      ],
    }),
    text: 'Multiple inputs of the same modality or mixed modality inputs are currently not applicable to the omni model',
  },
  inputLength: {
    ...invalid,
    make: changed({ messages: [{ role: 'user', content: 'a '.repeat(50_000) }] }),
    text: 'Range of input length should be [1, 49152]',
  },
  maxTokensRange: {
    ...invalid,
    make: changed({ max_tokens: 99_999 }),
    text: 'Range of max_tokens should be [1, 16384]',
  },
  framesRange: {
    ...invalid,
    make: chat(withPart({ type: 'video', video: ['http://a'] })),
    text: 'The video modality input does not meet the requirements because: the range of sequence images shoule be (2, 128).',
  },
  urlInvalid: {
    ...invalid,
    make: chat(image('x')),
    text: 'The provided URL does not appear to be valid. Ensure it is correctly formatted.',
  },
  hostForbidden: {
    ...invalid,
    make: chat(image('http://media/forbidden_host')),
    text: "Don't have authorization to access the media resource",
  },
  mediaNotFound: {
    ...invalid,
    make: chat(image('http://media/not_found')),
    text: 'Failed to find the requested media resource: Because of not_found.',
  },
  downloadFailed: {
    ...invalid,
    make: chat(image('http://media/download_failed')),
    text: 'Failed to download multimodal content.',
  },
  downloadTimeout: {
    ...invalid,
    make: chat(image('http://media/download_timeout')),
    text: 'Download multimodal file timed out',
  },
  contentTypeWrong: {
    ...invalid,
    make: chat(image('http://media/wrong_content_type')),
    text: 'Wrong Content-Type of multimodal url',
  },
  dataUriTooLarge: {
    ...invalid,
    make: chat(image(`data:;base64,${'A'.repeat(10_485_760)}`)),
    text: "Exceeded limit on max bytes per data-uri item : 10485760'.",
  },
  fileTooLarge: { ...invalid, make: chat(video('http://media/too_large')), text: 'Multimodal file size is too large' },
  imageDimensions: {
    ...invalid,
    make: chat(image('http://media/image_dimensions')),
    text: 'The image length and width do not meet the model restrictions.',
  },
  imageIllegal: {
    ...invalid,
    make: chat(image('http://media/image_illegal')),
    text: 'The image format is illegal and cannot be opened',
  },
  audioIllegal: {
    ...invalid,
    make: chat(audio('http://media/audio_illegal')),
    text: 'The audio format is illegal and cannot be opened',
  },
  audioEmpty: { ...invalid, make: chat(audio('http://media/audio_empty')), text: 'The audio is empty' },
  audioTooLong: { ...invalid, make: chat(audio('http://media/audio_too_long')), text: 'The audio is too long' },
  videoInvalid: { ...invalid, make: chat(video('http://media/video_invalid')), text: 'Invalid video file.' },
  videoTooLong: {
    ...invalid,
    make: chat(video('http://media/video_too_long')),
    text: 'because: The video file is too long.',
  },
  videoTooShort: {
    ...invalid,
    make: chat(video('http://media/video_too_short')),
    text: 'because: The video file is too short.',
  },
  checkpointUnsupported: {
    ...invalid,
    make: async () => {
      const server = await start({}, fakeEngine({ speech: false }))
      return read(await server.chat({ ...hello, ...spoken }))
    },
    text: "The checkpoint 'fake-omni' loaded here has no speech output, though qwen3-omni-flash does.",
  },
  overloaded: {
    status: 503,
    type: 'ModelServingError',
    code: 'ModelServingError',
    make: onceServed(new EngineError('overloaded', 'full')),
    text: 'Too many requests. Your requests are being throttled due to system capacity limits. Please try again later.',
  },
  unavailable: {
    status: 503,
    type: 'ModelUnavailable',
    code: 'ModelUnavailable',
    make: onceServed(new EngineError('engine_crashed', 'gone')),
    text: 'Model is unavailable, please try again later.',
  },
  timedOut: {
    status: 500,
    type: 'RequestTimeOut',
    code: 'RequestTimeOut',
    make: async () => {
      const server = await start({ requestTimeout: 0.05 }, fakeEngine({ startDelayMs: 5000 }))
      return read(await server.chat(hello))
    },
    text: 'Request timed out, please try again later.',
  },
  internal: {
    status: 500,
    type: 'internal_error',
    code: 'internal_error',
    make: onceServed(new Error('secret detail')),
    text: 'An internal error has occured, please try again later or contact service support.',
  },
}

describe('error catalogue', () => {
  it.each(Object.entries(CASES))('%s', async (_, expected) => {
    const { status, body } = await expected.make()
    expect(status).toBe(expected.status)
    expect(body.error.message).toContain(expected.text)
    expect(body.error.type).toBe(expected.type ?? 'invalid_request_error')
    if (expected.code !== undefined) expect(body.error.code).toBe(expected.code)
    expect(JSON.stringify(body)).not.toContain('secret detail')
    expect(JSON.stringify(body)).not.toMatch(/\bat \S+ \(|node_modules|\.ts:\d/)
  })

  it('has a row for every code of the media folder', async () => {
    const seen: Partial<Record<MediaErrorCode, number>> = {}
    for (const code of mediaErrorCodes)
      seen[code] = (await read(await plain.chat(audio(`http://media/${code}`)))).status
    expect(Object.values(seen).every((status) => status === 400 || status === 500 || status === 503)).toBe(true)
    expect([seen.overloaded, seen.aborted, seen.decode_memory]).toEqual([503, 500, 400])
  })

  it('is documented, row by row', () => {
    const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
    for (const name of Object.keys(CASES)) expect(page).toMatch(new RegExp(`^- \\*\\*${name}\\*\\* \\(\\d{3}, `, 'm'))
    expect(page.match(/^- \*\*\w+\*\* \(\d{3}, /gm)).toHaveLength(Object.keys(CASES).length)
  })

  it('answers headers that do not end with the time that they had', async () => {
    const server = await start({ bodyTimeout: 0.3 })
    const { status, body } = await sendRaw('GET /v1/models HTTP/1.1\r\nhost: x\r\n', server)
    expect({ status, message: body.error.message }).toEqual({
      status: 408,
      message: expect.stringContaining('did not arrive within 0.3 s'),
    })
  })

  it('answers a foreign host name on a keyless server', async () => {
    const { port } = new URL(plain.url)
    const status = await new Promise<number | undefined>((resolve, reject) => {
      httpRequest(
        { host: '127.0.0.1', port, path: '/compatible-mode/v1/models', headers: { host: 'rebound.example' } },
        (response) => {
          response.resume()
          resolve(response.statusCode)
        },
      )
        .on('error', reject)
        .end()
    })
    expect(status).toBe(403)
  })
})
