/**
 * vLLM with a thinker: text, images, audio and video in, text out.
 *
 * Reference: vLLM 0.30's OpenAI server as recorded (`testdata/remote-streams/vllm`). It ignores unknown fields, so what
 * it does not support is refused here.
 */

import { z } from 'zod'
import { EngineError, type GenerationRequest } from '../../../contract/index.ts'
import type { Adapter, Ask, Learned, PeerOptions } from '../adapter.ts'
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
    // A video with an audio track ends the whole server, so the track is sent as a part of its own.
    const { messages, frameRate } = await openAiMessages(
      request,
      { frames: 'joined-jpeg', videoAudio: 'beside' },
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
  learn: async (ask, options) => learnModel(ask, options),
}

/** Sampling by vLLM's names. Every value is sent, because the server's own defaults differ. */
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

/** vLLM counts reasoning and answer together; the answer's own limit is kept while reading. */
function totalTokens({ maxTokens, maxTotalTokens, thinking }: GenerationRequest): number {
  const both = thinking === undefined ? maxTokens : maxTokens + (thinking.budget ?? maxTokens)
  return Math.min(both, maxTotalTokens ?? both)
}

/** @throws EngineError for reasoning where the peer would not separate it from the answer */
export function thinkingFields(request: GenerationRequest, options: PeerOptions): Record<string, unknown> {
  if (options.thinking !== true) {
    if (request.thinking) throw new EngineError('unsupported', 'It does not think.', { param: 'enable_thinking' })
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

/** An error inside a 200 has the meaning of its code. @throws RemoteError */
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

/** The context from `/v1/models`. @throws RemoteError when the model is not served there */
export async function learnModel(ask: Ask, options: PeerOptions): Promise<Learned> {
  const answer = await ask('GET', '/v1/models')
  if (answer.status !== 200) throw mapVllmError(answer.status, answer.body)
  const parsed = modelsSchema.safeParse(parseJson(answer.body))
  if (!parsed.success)
    throw new RemoteError(
      'upstream_failed',
      'The peer answers /v1/models with something else than a list of models.',
      'strike',
    )
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
