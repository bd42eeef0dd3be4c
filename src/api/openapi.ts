/** The OpenAPI 3.1 description of the server, made from the same schemas that check requests. */
import { z } from 'zod'
// Importing the protocol registers its schemas under their ids.
import '../protocol/index.ts'

type Json = Record<string, unknown>

const API_ROOT = '/compatible-mode/v1'

function componentSchemas(): Json {
  const { schemas } = z.toJSONSchema(z.globalRegistry, {
    target: 'draft-2020-12',
    io: 'input',
    unrepresentable: 'any',
    uri: (id) => `#/components/schemas/${id}`,
  })
  const entries = Object.entries(schemas).map(([id, schema]) => {
    const { $schema, $id, id: _, ...rest } = schema as Json
    void $schema
    void $id
    void _
    return [id, rest] as const
  })
  return Object.fromEntries(entries)
}

const ref = (id: string): Json => ({ $ref: `#/components/schemas/${id}` })

const json = (id: string, description: string): Json => ({
  description,
  headers: {
    'x-request-id': { $ref: '#/components/headers/RequestId' },
    ...(id === 'Error' && { 'x-omniserve-hint': { $ref: '#/components/headers/Hint' } }),
  },
  content: { 'application/json': { schema: ref(id) } },
})

/** Example requests. */
const CHAT_EXAMPLES: Json = {
  text: {
    summary: 'A reply in text',
    value: {
      model: 'qwen3-omni-flash',
      stream: true,
      messages: [{ role: 'user', content: 'Who are you?' }],
      modalities: ['text'],
    },
  },
  speech: {
    summary: 'A reply in text and speech',
    value: {
      model: 'qwen3-omni-flash',
      stream: true,
      stream_options: { include_usage: true },
      messages: [{ role: 'user', content: 'Who are you?' }],
      modalities: ['text', 'audio'],
      audio: { voice: 'Cherry', format: 'wav' },
    },
  },
}

const CHAT_BODY: Json = {
  required: true,
  content: { 'application/json': { schema: ref('ChatCompletionRequest'), examples: CHAT_EXAMPLES } },
}

const errorResponses = (...statuses: readonly number[]): Json =>
  Object.fromEntries(statuses.map((status) => [String(status), json('Error', ERROR_MEANINGS[status] ?? 'Error')]))

const ERROR_MEANINGS: Readonly<Record<number, string>> = {
  400: 'The request breaks a rule of the API or of the model; `param` names the field.',
  401: 'No key, or a wrong one.',
  403: 'The page or name the request comes from may not call.',
  404: 'No such model or path.',
  413: 'The body is too large.',
  426: 'The path is a WebSocket.',
  429: 'Over the rate limit of the key.',
  500: 'An internal error.',
  503: 'Too many requests are waiting, or the engine is starting or stopping.',
}

/** Builds the document. `version` is the package's. */
export function openApiDocument(version: string): Json {
  const chat = {
    operationId: 'createChatCompletion',
    summary: 'Create a chat completion',
    description:
      'Text and one other modality in, text and speech out, streamed. Compatible with Model Studio’s Qwen-Omni and with the OpenAI SDKs.',
    tags: ['Chat'],
    requestBody: CHAT_BODY,
    responses: {
      200: {
        description:
          'The reply: a stream, or one object for a request without `stream` (on /v1, or with --lenient-non-stream).',
        headers: {
          'x-request-id': { $ref: '#/components/headers/RequestId' },
          'x-omniserve-served-by': {
            description: 'In a cluster: the replica that answers.',
            schema: { type: 'string' },
          },
          'x-omniserve-warnings': {
            description: 'What differs from the request, such as an audio track left out.',
            schema: { type: 'string' },
          },
        },
        content: {
          'text/event-stream': {
            schema: {
              type: 'string',
              description:
                'Events, each `data: ` and a ChatCompletionChunk (#/components/schemas/ChatCompletionChunk); the last is `data: [DONE]`. A failure after the first byte is an event with an Error.',
            },
          },
          'application/json': { schema: ref('ChatCompletion') },
        },
      },
      ...errorResponses(400, 401, 403, 404, 413, 429, 500, 503),
    },
  }
  const count = {
    operationId: 'countTokens',
    summary: 'Count the tokens and the list price of a request, without running it',
    tags: ['Chat'],
    requestBody: CHAT_BODY,
    responses: { 200: json('TokensCount', 'The count.'), ...errorResponses(400, 401, 403, 404, 413, 500, 503) },
  }
  const models = {
    operationId: 'listModels',
    summary: 'List the models of the region',
    tags: ['Catalogue'],
    responses: { 200: json('ModelList', 'The models.'), ...errorResponses(401, 403) },
  }
  const model = {
    operationId: 'getModel',
    summary: 'Get one model',
    tags: ['Catalogue'],
    parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }],
    responses: { 200: json('Model', 'The model.'), ...errorResponses(401, 403, 404) },
  }
  const voices = {
    operationId: 'listVoices',
    summary: 'List the voices of each model, with the speaker of the checkpoint',
    tags: ['Catalogue'],
    parameters: [
      { name: 'model', in: 'query', schema: { type: 'string' }, description: 'Only the voices of this model.' },
    ],
    responses: { 200: json('VoiceList', 'The voices.'), ...errorResponses(401, 403, 404) },
  }
  const speechVoices = {
    operationId: 'listSpeechVoices',
    summary: 'List the voices for speech',
    tags: ['Audio'],
    parameters: [
      {
        name: 'model',
        in: 'query',
        schema: { type: 'string' },
        description: 'Default: the model with the most voices.',
      },
    ],
    responses: { 200: json('SpeechVoices', 'The voices.'), ...errorResponses(401, 403, 404) },
  }
  const speech = {
    operationId: 'createSpeech',
    summary: 'Convert text to speech',
    tags: ['Audio'],
    requestBody: { required: true, content: { 'application/json': { schema: ref('SpeechRequest') } } },
    responses: {
      200: {
        description: 'The audio, streamed as it is generated.',
        content: Object.fromEntries(
          ['audio/mpeg', 'audio/ogg', 'audio/wav', 'audio/pcm'].map((type) => [
            type,
            { schema: { type: 'string', format: 'binary' } },
          ]),
        ),
      },
      ...errorResponses(400, 401, 403, 404, 413, 429, 500, 503),
    },
  }
  const transcript = (operationId: string, summary: string): Json => ({
    operationId,
    summary,
    tags: ['Audio'],
    requestBody: {
      required: true,
      content: {
        'multipart/form-data': {
          schema: {
            allOf: [
              ref('TranscriptionRequest'),
              { type: 'object', required: ['file'], properties: { file: { type: 'string', format: 'binary' } } },
            ],
          },
        },
      },
    },
    responses: {
      200: {
        description: 'The transcript, in the requested format.',
        content: {
          'application/json': { schema: ref('Transcription') },
          'text/plain': { schema: { type: 'string' } },
          'text/vtt': { schema: { type: 'string' } },
          'text/event-stream': { schema: { type: 'string' } },
        },
      },
      ...errorResponses(400, 401, 403, 404, 413, 429, 500, 503),
    },
  })
  const socket = (operationId: string, summary: string): Json => ({
    operationId,
    summary,
    description: 'A WebSocket; events are described in docs/realtime.md.',
    tags: ['Realtime'],
    parameters: [{ name: 'model', in: 'query', required: true, schema: { type: 'string' } }],
    responses: { 101: { description: 'The session begins.' }, ...errorResponses(400, 401, 403, 404, 426, 503) },
  })
  const open = { security: [] }
  const text = (description: string, type: string): Json => ({
    description,
    content: { [type]: { schema: { type: 'string' } } },
  })
  const paths: Json = {}
  for (const [root, suffix] of [
    [API_ROOT, ''],
    ['/v1', 'V1'],
  ] as const) {
    const named = <T extends { operationId: string }>(operation: T): T => ({
      ...operation,
      operationId: operation.operationId + suffix,
    })
    paths[`${root}/chat/completions`] = { post: named(chat) }
    paths[`${root}/tokens/count`] = { post: named(count) }
    paths[`${root}/models`] = { get: named(models) }
    paths[`${root}/models/{id}`] = { get: named(model) }
    paths[`${root}/voices`] = { get: named(voices) }
  }
  paths['/v1/audio/voices'] = { get: speechVoices }
  paths['/v1/audio/speech'] = { post: speech }
  paths['/v1/audio/transcriptions'] = { post: transcript('createTranscription', 'Transcribe audio') }
  paths['/v1/audio/translations'] = { post: transcript('createTranslation', 'Translate audio into English text') }
  paths['/api-ws/v1/realtime'] = { get: socket('realtimeDashScope', "A session in DashScope's dialect") }
  paths['/v1/realtime'] = { get: socket('realtimeOpenAI', "A session in OpenAI's dialect") }
  const status = (operationId: string, summary: string, responses: Json, secured = false): Json => ({
    get: { operationId, summary, tags: ['Server'], responses, ...(secured ? {} : open) },
  })
  paths['/health'] = status('health', 'The process answers', { 200: json('Health', 'Always.') })
  paths['/ready'] = status('ready', 'Requests can be served', {
    200: json('Ready', 'Ready.'),
    503: json('Ready', 'Not ready, and why.'),
  })
  paths['/metrics'] = status(
    'metrics',
    'Prometheus metrics',
    { 200: text('Metrics.', 'text/plain'), ...errorResponses(401) },
    true,
  )
  const adminKey = { security: [{ adminKey: [] }], tags: ['Operators'] }
  paths['/admin'] = status('adminPage', 'Page with the replicas; with --admin-key only', {
    200: text('A page.', 'text/html'),
    ...errorResponses(403, 404),
  })
  paths['/admin/cluster'] = {
    get: {
      operationId: 'showCluster',
      summary: 'List the replicas with their state; requires --admin-key',
      ...adminKey,
      responses: { 200: json('ClusterState', 'The replicas.'), ...errorResponses(401, 403, 404) },
    },
  }
  paths['/admin/cluster/replicas/{name}'] = {
    post: {
      operationId: 'drainReplica',
      summary: 'Drain or resume a replica; requires --admin-key',
      ...adminKey,
      parameters: [{ name: 'name', in: 'path', required: true, schema: { type: 'string' } }],
      requestBody: { required: true, content: { 'application/json': { schema: ref('DrainRequest') } } },
      responses: { 200: json('ClusterState', 'The replicas now.'), ...errorResponses(400, 401, 403, 404, 413) },
    },
  }
  paths['/openapi.json'] = status('openapi', 'This document', {
    200: { description: 'OpenAPI 3.1.', content: { 'application/json': { schema: { type: 'object' } } } },
  })
  paths['/reference'] = status('reference', 'This document for people', { 200: text('A page.', 'text/html') })
  return {
    openapi: '3.1.0',
    info: {
      title: 'omniserve',
      version,
      summary: 'Qwen-Omni on your own machine',
      description: 'The Qwen-Omni API of Alibaba Cloud Model Studio, as its guide of December 2025 describes it.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ key: [] }],
    tags: [
      { name: 'Chat', description: 'Chat completions and token counts.' },
      { name: 'Audio', description: 'Text to speech, transcription and translation.' },
      { name: 'Realtime', description: 'Spoken conversations.' },
      { name: 'Catalogue', description: 'Models and voices.' },
      { name: 'Server', description: 'Health and metrics.' },
      { name: 'Operators', description: 'Replicas of a cluster.' },
    ],
    paths,
    components: {
      securitySchemes: {
        key: {
          type: 'http',
          scheme: 'bearer',
          description: 'A server without --api-key accepts any key, or none.',
        },
        adminKey: { type: 'http', scheme: 'bearer', description: 'The key of --admin-key.' },
      },
      headers: {
        Hint: {
          description: 'The fix, where the message is the hosted service’s own text.',
          schema: { type: 'string' },
        },
        RequestId: {
          description: 'The request’s uuid; also in the reply’s `id`.',
          schema: { type: 'string', format: 'uuid' },
        },
      },
      schemas: componentSchemas(),
    },
  }
}
