/**
 * vLLM-Omni with Qwen-Omni's three stages: text, images, audio and video in; text and speech out.
 *
 * Reference: recordings of vLLM-Omni 0.30 (`testdata/remote-streams/vllm-omni`).
 */

import type { GenerationRequest } from '../../../contract/index.ts'
import type { Adapter, Ask, PeerOptions } from '../adapter.ts'
import { checkRate, parseChunk, readBase64, readTextDelta } from '../wire/chunk.ts'
import { openAiMessages, toolFields } from '../wire/messages.ts'
import {
  expectHealthy,
  frameFields,
  discoverModel,
  thinkerSampling,
  thinkingFields,
  throwErrorEvent,
} from '../vllm/adapter.ts'
import { mapVllmError, messageOf } from '../vllm/errors.ts'

/** A voice that does not exist: the error lists the existing ones. */
const NO_VOICE = 'omniserve-lists-voices'

export const vllmOmni: Adapter = {
  name: 'vllm-omni',
  capabilities: { seed: true, voiceChoice: true, promptByModality: true },
  input: ['text', 'image', 'audio', 'video'],
  output: ['text', 'audio'],
  path: '/v1/chat/completions',
  idleFrom: 'byte',
  tokenPerDelta: true,

  async build(request, options, speaker, signal) {
    const style = { frames: 'joined-jpeg', videoAudio: 'inside' } as const
    const { messages, useAudioInVideo, frameRate } = await openAiMessages(request, style, signal)
    return {
      model: options.model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
      modalities: request.speech ? ['text', 'audio'] : ['text'],
      ...(request.speech && speaker !== undefined && { voice: speaker, audio: { format: 'pcm16' } }),
      sampling_params_list: stages(request, options),
      ...thinkingFields(request, options),
      ...toolFields(request),
      ...frameFields(frameRate),
      ...(useAudioInVideo && { mm_processor_kwargs: { use_audio_in_video: true } }),
    }
  },

  read(json) {
    throwErrorEvent(json)
    const chunk = parseChunk(json)
    if (chunk.modality !== 'audio') return readTextDelta(chunk)
    checkRate(chunk)
    const choice = chunk.choices?.[0]
    const content = choice?.delta?.content ?? ''
    const { finish } = readTextDelta({ ...chunk, usage: null })
    return {
      ...(content !== '' && { audio: readBase64(content) }),
      // The finish reason of the last audio chunk is not the text's, and its usage does not include text.
      ...(finish && { finish: { reason: 'stop', endToken: false } }),
    }
  },

  mapError: mapVllmError,
  probe: async (ask) => expectHealthy(await ask('GET', '/health')),

  async discover(ask, options) {
    const model = await discoverModel(ask, options)
    const speakers = options.speakers ?? (await listSpeakers(ask, options))
    return { ...model, ...(speakers && { speakers }) }
  },
}

/** Sampling by stage. An entry replaces all defaults of its stage; stages without an entry use their defaults. */
function stages(request: GenerationRequest, { talker }: PeerOptions): readonly Record<string, unknown>[] {
  const thinker = thinkerSampling(request)
  return talker && request.speech ? [thinker, talker] : [thinker]
}

async function listSpeakers(ask: Ask, options: PeerOptions): Promise<readonly string[] | undefined> {
  const answer = await ask('POST', vllmOmni.path, {
    model: options.model,
    messages: [{ role: 'user', content: '.' }],
    modalities: ['text', 'audio'],
    voice: NO_VOICE,
    max_tokens: 1,
  })
  return readSpeakers(answer.body)
}

/** Reads the speakers from "Invalid speaker 'x'. Supported: a, b, c". */
export function readSpeakers(body: string): readonly string[] | undefined {
  const list = /Supported: (.+)$/s.exec(messageOf(body).message)?.[1]
  const names = list?.split(',').flatMap((name) => name.trim().toLowerCase() || [])
  return names && names.length > 0 ? names : undefined
}
