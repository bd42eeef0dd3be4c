/**
 * SGLang-Omni: text, images, audio and video files in; text and speech with one speaker out.
 *
 * Reference: recordings of SGLang-Omni 0.1.9 (`testdata/remote-streams/sglang-omni`). It has no choice of voice. A
 * request that fails before its first byte is answered with status 200 and an error event.
 */

import { z } from 'zod'
import { EngineError } from '../../../contract/index.ts'
import type { Adapter } from '../adapter.ts'
import { RemoteError } from '../remote-error.ts'
import { parseChunk, readBase64, readTextDelta } from '../wire/chunk.ts'
import { openAiMessages } from '../wire/messages.ts'
import { withoutPaths } from '../vllm/errors.ts'
import { expectHealthy, discoverModel, parseJson, throwErrorEvent } from '../vllm/adapter.ts'

export const sglangOmni: Adapter = {
  name: 'sglang-omni',
  capabilities: { seed: true, voiceChoice: false, promptByModality: false },
  input: ['text', 'image', 'audio', 'video'],
  output: ['text', 'audio'],
  speakers: ['ethan'],
  path: '/v1/chat/completions',
  idleFrom: 'byte',
  tokenPerDelta: true,

  async build(request, options, _speaker, signal) {
    if (request.tools && request.tools.length > 0)
      throw new EngineError('unsupported', 'It does not support tools.', { param: 'tools' })
    if (request.thinking)
      throw new EngineError('unsupported', 'It does not support thinking.', { param: 'enable_thinking' })
    if (request.sampling.presencePenalty !== 0)
      throw new EngineError('unsupported', 'It does not support presence_penalty.', { param: 'presence_penalty' })
    const { messages } = await openAiMessages(request, { frames: 'refused', videoAudio: 'separate' }, signal)
    const { sampling, stop, stopTokenIds } = request
    return {
      model: options.model,
      messages,
      stream: true,
      request_id: request.id,
      modalities: request.speech ? ['text', 'audio'] : ['text'],
      ...(request.speech && { audio: { format: 'pcm' } }),
      temperature: sampling.temperature,
      top_p: sampling.topP,
      top_k: sampling.topK === undefined || sampling.topK === 0 ? -1 : sampling.topK,
      repetition_penalty: sampling.repetitionPenalty,
      seed: sampling.seed,
      max_tokens: request.maxTokens,
      ...(stop.length > 0 && { stop }),
      ...(stopTokenIds && stopTokenIds.length > 0 && { stop_token_ids: stopTokenIds }),
    }
  },

  read(json) {
    throwErrorEvent(json, mapSglangError)
    const chunk = parseChunk(json)
    const data = chunk.choices?.[0]?.delta?.audio?.data ?? ''
    return { ...readTextDelta(chunk), ...(data !== '' && { audio: readBase64(data) }) }
  },

  mapError: mapSglangError,

  async probe(ask) {
    const answer = await ask('GET', '/health')
    expectHealthy(answer)
    const { data } = healthSchema.safeParse(parseJson(answer.body))
    if (data && data.status !== 'healthy')
      throw new RemoteError('upstream_failed', `The peer reports the status ${data.status}.`, 'strike')
  },

  discover: discoverModel,
}

const healthSchema = z.object({ status: z.string() })

const bodySchema = z.union([
  z.object({ error: z.object({ message: z.string() }) }).transform(({ error }) => error.message),
  z.object({ detail: z.string() }).transform(({ detail }) => detail),
  z
    .object({ detail: z.array(z.object({ msg: z.string(), loc: z.array(z.union([z.string(), z.number()])) })) })
    .transform(({ detail }) => detail.map(({ msg, loc }) => `${loc.join('.')}: ${msg}`).join('; ')),
])

export function mapSglangError(status: number, body: string): RemoteError {
  const parsed = bodySchema.safeParse(parseJson(body))
  const message = parsed.success ? parsed.data : body.slice(0, 200)
  const cause = new Error(`HTTP ${status}: ${message}`)
  if (/context length|longer than the model/i.test(message)) {
    return new RemoteError('context_overflow', 'The prompt exceeds the context of the model.', 'none', {
      param: /max_(new_)?tokens/.test(message) ? 'max_tokens' : 'messages',
      cause,
    })
  }
  if (status === 503 && /queue is full/i.test(message))
    return new RemoteError('overloaded', 'The request queue of the peer is full.', 'none', {
      retryAfterMs: 1000,
      cause,
    })
  if (status === 401 || status === 403)
    return new RemoteError(
      'upstream_failed',
      `The peer rejects the pool's key (HTTP ${status}): set the pool's key.`,
      'suspend',
      { cause },
    )
  if (status === 503) return new RemoteError('upstream_failed', 'The peer is not ready.', 'strike', { cause })
  if (status >= 500 && /worker exited|stage \S+ /i.test(message))
    return new RemoteError('engine_crashed', 'The peer’s engine ended.', 'eject', { cause })
  if (status >= 500)
    return new RemoteError('upstream_failed', `The peer failed with HTTP ${status}.`, 'strike', { cause })
  if (!parsed.success)
    return new RemoteError('upstream_failed', `The peer refused the request with HTTP ${status}.`, 'none', { cause })
  return new RemoteError('unsupported', withoutPaths(message), 'none', { cause })
}
