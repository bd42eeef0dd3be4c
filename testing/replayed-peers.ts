/** Replay servers that answer as each recorded peer does: health, models, voices, replies, refusals. */

import {
  answerTo,
  type Body,
  recording,
  type Reply,
  type ReplayServer,
  type Row,
  shape,
  startReplay,
} from './replay-server.ts'

export interface PeerOptions {
  /** Milliseconds before each event. */
  readonly pace?: number
  readonly times?: number
}

type Peer = 'vllm' | 'vllm-omni' | 'sglang-omni'

export function replayPeer(peer: Peer, options: PeerOptions = {}): Promise<ReplayServer> {
  return startReplay(rowsOf(peer, options))
}

export function rowsOf(peer: Peer, { pace = 1, times = 10 }: PeerOptions = {}): Row[] {
  const chat = '/v1/chat/completions'
  const stream =
    (name: string) =>
    (body: Body): Reply => ({
      pace,
      events: shape(recording(`${peer}/${name}`), { times: isLong(body) ? times : 1, ...limitsOf(body) }),
    })
  const long =
    peer === 'sglang-omni' ? { events: recording('sglang-omni/error-long-stream.sse') } : answerTo(peer, 'prompt over')
  const rows: Row[] = [
    { method: 'GET', path: '/health', reply: answerTo(peer, 'GET /health') },
    {
      method: 'GET',
      path: '/v1/models',
      reply: peer === 'sglang-omni' ? answerTo(peer, 'GET /v1/models') : { body: vllmModels },
    },
    {
      path: chat,
      when: (body) => body['model'] !== 'nano',
      reply: peer === 'sglang-omni' ? { status: 404, body: {} } : answerTo('vllm-omni', 'unknown model'),
    },
    { path: chat, when: (body) => JSON.stringify(body['messages']).length > 20_000, reply: long },
  ]
  if (peer === 'vllm-omni') {
    rows.push({
      path: chat,
      when: (body) => typeof body['voice'] === 'string' && !voices.has(body['voice'].toLowerCase()),
      reply: answerTo(peer, 'voice "Nobody"'),
    })
  }
  if (peer !== 'vllm') {
    rows.push({
      path: chat,
      when: (body) => JSON.stringify(body['modalities'] ?? []).includes('audio'),
      reply: stream(peer === 'vllm-omni' ? 'speech-pcm16.sse' : 'speech-pcm.sse'),
    })
  }
  return [...rows, { path: chat, reply: stream('text.sse') }]
}

const vllmModels = {
  object: 'list',
  data: [{ id: 'nano', object: 'model', created: 1, owned_by: 'vllm', root: '/models/nano', max_model_len: 4096 }],
}

const refusal = JSON.stringify(answerTo('vllm-omni', 'voice "Nobody"').body)
const voices = new Set((/Supported: ([^"]+)/.exec(refusal)?.[1] ?? '').split(', '))

/** The thinker's own limits, wherever the peer takes them. */
function limitsOf(body: Body): { readonly maxTokens: number; readonly stop: readonly string[] } {
  const list = body['sampling_params_list']
  const source: Body = Array.isArray(list) ? (list[0] as Body) : body
  const stop = source['stop']
  return { maxTokens: Number(source['max_tokens'] ?? 100), stop: Array.isArray(stop) ? stop.map(String) : [] }
}

function isLong(body: Body): boolean {
  return JSON.stringify(body['messages']).includes('long story')
}
