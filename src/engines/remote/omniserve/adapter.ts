/**
 * Another omniserve server. It reports its context, voices and capabilities. Errors of requests are passed on
 * unchanged.
 *
 * Reference: docs/wire.md and docs/errors.md of this repository.
 */

import { z } from 'zod'
import type { Adapter, Ask, DiscoveredFacts, PeerOptions } from '../adapter.ts'
import { mapDashscopeError, passOn, readWireError, throwWireError } from '../dashscope/errors.ts'
import { readOmniDelta } from '../dashscope/adapter.ts'
import { RemoteError } from '../remote-error.ts'
import { dashscopeBody } from '../wire/dashscope-body.ts'
import { parseJson } from '../vllm/adapter.ts'

export const omniserve: Adapter = {
  name: 'omniserve',
  capabilities: { seed: true, voiceChoice: true, promptByModality: true },
  input: ['text', 'image', 'audio', 'video'],
  output: ['text', 'audio'],
  speakers: 'anyName',
  path: '/v1/chat/completions',
  idleFrom: 'token',
  tokenPerDelta: true,

  build: (request, options, speaker, signal) =>
    dashscopeBody(request, options.model, speaker, { frameRate: true }, signal),

  read(json) {
    throwWireError(json, mapOmniserveError)
    return readOmniDelta(json)
  },

  mapError: mapOmniserveError,

  async probe(ask) {
    const { status } = await ask('GET', '/ready')
    if (status === 200) return
    const why = status === 404 ? ' Configure its URL without /v1.' : ''
    throw new RemoteError('upstream_failed', `The peer's /ready answers ${status}.${why}`, 'strike')
  },

  async discover(ask, options) {
    const [model, voices] = [await discoverModel(ask, options), await discoverVoices(ask, options)]
    return { ...model, ...(voices && { voices }) }
  },
}

export function mapOmniserveError(status: number, body: string, retryAfterMs?: number): RemoteError {
  const error = readWireError(body)
  const cause = new Error(`HTTP ${status}: ${error ? `${error.code}: ${error.message}` : body.slice(0, 200)}`)
  // Its engine has ended or is loading. Its health check shows when it is ready again.
  if (error?.code === 'ModelUnavailable')
    return new RemoteError('engine_crashed', 'The peer’s engine is not available.', 'strike', {
      cause,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    })
  // These statuses concern the pool's key, its model and its limits; other 4xx concern the request.
  if (error && status >= 400 && status < 500 && ![401, 403, 404, 429].includes(status)) {
    if (/Range of input length/i.test(error.message))
      return new RemoteError('context_overflow', error.message, 'none', { param: 'messages', cause })
    return passOn(status, error, cause)
  }
  return mapDashscopeError(status, body, retryAfterMs)
}

const modelSchema = z.object({
  served_by: z
    .object({
      context_length: z.number().int(),
      max_output: z.number().int(),
      input_modalities: z.array(z.enum(['text', 'image', 'audio', 'video'])),
      output_modalities: z.array(z.enum(['text', 'audio'])),
      thinking: z.boolean(),
    })
    .nullable(),
})

async function discoverModel(ask: Ask, options: PeerOptions): Promise<DiscoveredFacts> {
  const answer = await ask('GET', `/v1/models/${encodeURIComponent(options.model)}`)
  if (answer.status !== 200) throw mapOmniserveError(answer.status, answer.body)
  const { data } = modelSchema.safeParse(parseJson(answer.body))
  if (!data?.served_by) throw new RemoteError('upstream_failed', `The peer does not serve ${options.model}.`, 'strike')
  const { context_length, max_output, input_modalities, output_modalities, thinking } = data.served_by
  return {
    contextLength: context_length,
    maxOutputTokens: max_output,
    input: input_modalities,
    output: output_modalities,
    thinking,
  }
}

const voicesSchema = z.object({
  data: z.array(
    z.object({
      voices: z.array(z.object({ name: z.string(), native: z.boolean().nullable(), spoken_by: z.string().nullable() })),
    }),
  ),
})

async function discoverVoices(ask: Ask, options: PeerOptions): Promise<DiscoveredFacts['voices']> {
  const answer = await ask('GET', `/v1/voices?model=${encodeURIComponent(options.model)}`)
  const { data } = voicesSchema.safeParse(parseJson(answer.body))
  return data?.data[0]?.voices.flatMap(({ name, native, spoken_by: speaker }) =>
    speaker === null ? [] : [{ name, speaker, native: native ?? false }],
  )
}
