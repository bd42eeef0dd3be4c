/**
 * vLLM with a thinker: text, images, audio and video in; text out.
 *
 * Reference: recordings of vLLM 0.30's OpenAI server (`testdata/remote-streams/vllm`). It ignores unknown fields, so
 * this adapter refuses unsupported ones.
 */

import { z } from 'zod'
import { EngineError, type GenerationRequest } from '../../../contract/index.ts'
import type { Adapter, Ask, DiscoveredFacts, PeerOptions } from '../adapter.ts'
import { RemoteError } from '../remote-error.ts'
import { parseChunk, readTextDelta } from '../wire/chunk.ts'
import { openAiMessages, toolFields } from '../wire/messages.ts'
import { mapVllmError } from './errors.ts'

export const vllm: Adapter = {
  name: 'vllm',
  capabilities: { seed: true, voiceChoice: false, promptByModality: false },
  input: ['text', 'image', 'audio', 'video'],
  output: ['text'],
  path: '/v1/chat/completions',
  idleFrom: 'byte',
  tokenPerDelta: true,

  async build(request, options, _speaker, signal) {
    if (request.speech) throw new EngineError('unsupported', 'It has no speech output.', { param: 'modalities' })
    // A video with an audio track crashes the server, so the track is sent as a separate part.
    const { messages, frameRate } = await openAiMessages(
      request,
      { frames: 'joined-jpeg', videoAudio: 'separate' },
      signal,
    )
    return {
      model: options.model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
      ...thinkerSampling(request),
      ...thinkingFields(request, options),
      ...toolFields(request),
      ...frameFields(frameRate),
    }
  },

  read(json) {
    throwErrorEvent(json)
    return readTextDelta(parseChunk(json))
  },

  mapError: mapVllmError,
  probe: async (ask) => expectHealthy(await ask('GET', '/health')),
  discover: async (ask, options) => discoverModel(ask, options),
}

/** Sampling with vLLM's field names. Every value is sent, because the server's defaults differ. */
export function thinkerSampling(request: GenerationRequest): Record<string, unknown> {
  const { sampling, stop, stopTokenIds } = request
  return {
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK === undefined || sampling.topK === 0 ? -1 : sampling.topK,
    presence_penalty: sampling.presencePenalty,
    repetition_penalty: sampling.repetitionPenalty,
    seed: sampling.seed,
    max_tokens: totalTokens(request),
    ...(stop.length > 0 && { stop }),
    ...(stopTokenIds && stopTokenIds.length > 0 && { stop_token_ids: stopTokenIds }),
  }
}

/** vLLM's limit covers reasoning and answer together. `ReplyEvents` enforces the answer's own limit. */
function totalTokens({ maxTokens, maxTotalTokens, thinking }: GenerationRequest): number {
  const both = thinking === undefined ? maxTokens : maxTokens + (thinking.budget ?? maxTokens)
  return Math.min(both, maxTotalTokens ?? both)
}

/** @throws EngineError for thinking, if the peer has no reasoning parser */
export function thinkingFields(request: GenerationRequest, options: PeerOptions): Record<string, unknown> {
  if (options.thinking !== true) {
    if (request.thinking)
      throw new EngineError('unsupported', 'It does not support thinking.', { param: 'enable_thinking' })
    return {}
  }
  return { chat_template_kwargs: { enable_thinking: request.thinking !== undefined } }
}

export function frameFields(frameRate: number | undefined): Record<string, unknown> {
  return frameRate === undefined ? {} : { media_io_kwargs: { video: { num_frames: -1, fps: frameRate } } }
}

const errorEventSchema = z.object({
  error: z.union([
    z.string(),
    z.object({ message: z.string().nullish(), code: z.union([z.number(), z.string()]).nullish() }),
  ]),
})

/** Throws the error of an error event inside a 200 response. `map` gets the event's code. @throws RemoteError */
export function throwErrorEvent(
  json: unknown,
  map: (status: number, body: string) => RemoteError = mapVllmError,
): void {
  if (typeof json !== 'object' || json === null || !('error' in json) || json.error === null) return
  const { data } = errorEventSchema.safeParse(json)
  const code = Number(typeof data?.error === 'object' ? (data.error.code ?? 500) : 500)
  throw map(Number.isInteger(code) && code >= 400 ? code : 500, JSON.stringify(json))
}

/** @throws RemoteError unless the answer is a 200 */
export function expectHealthy({ status }: { readonly status: number }): void {
  if (status !== 200) throw new RemoteError('upstream_failed', `The peer's health check answers ${status}.`, 'strike')
}

const modelsSchema = z.object({
  data: z.array(z.object({ id: z.string(), max_model_len: z.number().int().positive().nullish() })),
})

/** The context length from `/v1/models`. @throws RemoteError when the peer does not serve the model */
export async function discoverModel(ask: Ask, options: PeerOptions): Promise<DiscoveredFacts> {
  const answer = await ask('GET', '/v1/models')
  if (answer.status !== 200) throw mapVllmError(answer.status, answer.body)
  const parsed = modelsSchema.safeParse(parseJson(answer.body))
  if (!parsed.success)
    throw new RemoteError('upstream_failed', 'The peer did not answer /v1/models with a list of models.', 'strike')
  const served = parsed.data.data.find(({ id }) => id === options.model)
  if (!served) {
    const names = parsed.data.data.map(({ id }) => id).join(', ')
    throw new RemoteError(
      'upstream_failed',
      `The peer serves ${names || 'no model'}, not ${options.model}: set the pool's model, or restart the peer with it.`,
      'suspend',
    )
  }
  return served.max_model_len ? { contextLength: served.max_model_len } : {}
}

export function parseJson(text: string): unknown {
  try {
    const json: unknown = JSON.parse(text)
    return json
  } catch {
    return undefined
  }
}
