/**
 * Alibaba Model Studio (DashScope). It has the same API as this server, so requests are forwarded almost unchanged.
 *
 * Reference: the Qwen-Omni guide (December 2025), the compatible mode's reference and page of error codes. It has no
 * health check without cost, so only requests show its health.
 */

import type { Adapter } from '../adapter.ts'
import { parseChunk, readBase64, readTextDelta } from '../wire/chunk.ts'
import { dashscopeBody } from '../wire/dashscope-body.ts'
import { mapDashscopeError, throwWireError } from './errors.ts'

/** Most characters of one `data:` URL. */
const MAX_DATA_URL = 10 * 1024 * 1024

export const dashscope: Adapter = {
  name: 'dashscope',
  capabilities: { seed: true, voiceChoice: true, promptByModality: true },
  input: ['text', 'image', 'audio', 'video'],
  output: ['text', 'audio'],
  speakers: 'anyName',
  path: '/chat/completions',
  idleFrom: 'token',
  tokenPerDelta: false,

  async build(request, options, speaker, signal) {
    const body = await dashscopeBody(
      request,
      options.model,
      speaker,
      { maxDataUrl: MAX_DATA_URL, frameRate: false },
      signal,
    )
    return options.thinking === true && !request.thinking ? { ...body, enable_thinking: false } : body
  },

  read(json) {
    throwWireError(json, mapDashscopeError)
    return readOmniDelta(json)
  },

  mapError: mapDashscopeError,
}

/** Text is in `content` or, for qwen-omni-turbo, in `audio.transcript`; audio is in `audio.data`. */
export function readOmniDelta(json: unknown): ReturnType<Adapter['read']> {
  const chunk = parseChunk(json)
  const audio = chunk.choices?.[0]?.delta?.audio
  const data = audio?.data ?? ''
  const delta = readTextDelta(chunk)
  const transcript = audio?.transcript ?? ''
  // Empty text in a chunk with audio, or in the last chunk, is not a token.
  const { silentToken: _, ...rest } = delta
  return {
    ...rest,
    ...(rest.text === undefined && transcript !== '' && { text: transcript }),
    ...(data !== '' && { audio: readBase64(data) }),
  }
}
