/**
 * Messages of a request in OpenAI's format, as vLLM, vLLM-Omni and SGLang-Omni take them.
 *
 * In: messages of the contract. Out: messages of a body, media as `data:` URLs, and the body's fields about its videos.
 */

import type { GenerationMessage, GenerationPart, GenerationRequest } from '../../../contract/index.ts'
import { EngineError } from '../../../contract/index.ts'
import { audioTrack, dataUrl, isFrameList, jpegFrames, onlyFile } from './media-parts.ts'

export interface MessageStyle {
  /** How a list of frames is sent. `refused`: the peer supports none. */
  readonly frames: 'joined-jpeg' | 'refused'
  /** Where the audio track of a video goes: inside the file, or as a part of its own. */
  readonly videoAudio: 'inside' | 'beside'
}

export interface OpenAiMessages {
  readonly messages: readonly Record<string, unknown>[]
  /** Every video has an audio track inside that the peer is to use. */
  readonly useAudioInVideo: boolean
  /** Frames per second of frame lists, when there are any. */
  readonly frameRate: number | undefined
}

type Video = Extract<GenerationPart, { type: 'video' }>['video']

/** Reads all media. @throws EngineError `unsupported` for what the style cannot express. */
export async function openAiMessages(
  request: GenerationRequest,
  style: MessageStyle,
  signal: AbortSignal,
): Promise<OpenAiMessages> {
  const videos = request.messages.flatMap((message) =>
    message.role === 'user' || message.role === 'system' ? message.content.flatMap(videoOf) : [],
  )
  // The peer's switch is for all videos of a request, and fails for one without a track.
  const inside =
    style.videoAudio === 'inside' && videos.length > 0 && videos.every(({ facts }) => facts.audio !== undefined)
  const lists = videos.filter(isFrameList)
  const messages: Record<string, unknown>[] = []
  for (const message of request.messages) messages.push(await oneMessage(message, style, inside, signal))
  return { messages, useAudioInVideo: inside, frameRate: lists[0]?.facts.fps }
}

function videoOf(part: GenerationPart): Video[] {
  return part.type === 'video' ? [part.video] : []
}

async function oneMessage(
  message: GenerationMessage,
  style: MessageStyle,
  inside: boolean,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  switch (message.role) {
    case 'system':
    case 'user': {
      const parts: Record<string, unknown>[] = []
      for (const part of message.content) parts.push(...(await onePart(part, style, inside, signal)))
      return { role: message.role, content: joinText(parts) }
    }
    case 'assistant':
      return { role: 'assistant', content: textOf(message.content), ...toolCalls(message) }
    case 'tool':
      return { role: 'tool', tool_call_id: message.toolCallId, content: textOf(message.content) }
    default:
      return message satisfies never
  }
}

async function onePart(
  part: GenerationPart,
  style: MessageStyle,
  inside: boolean,
  signal: AbortSignal,
): Promise<Record<string, unknown>[]> {
  switch (part.type) {
    case 'text':
      return [{ type: 'text', text: part.text }]
    case 'image':
      return [{ type: 'image_url', image_url: { url: await dataUrl(onlyFile(part.image.files), signal) } }]
    case 'audio':
      return [{ type: 'audio_url', audio_url: { url: await dataUrl(onlyFile(part.audio.files), signal) } }]
    case 'video': {
      const { video } = part
      if (isFrameList(video) && style.frames === 'refused')
        throw new EngineError('unsupported', 'It takes videos as files only, not as a list of frames.', {
          param: 'messages',
        })
      const url = isFrameList(video) ? await jpegFrames(video, signal) : await dataUrl(onlyFile(video.files), signal)
      const parts: Record<string, unknown>[] = [{ type: 'video_url', video_url: { url } }]
      const track = video.facts.audio === undefined || inside ? undefined : await audioTrack(video, signal)
      if (track !== undefined) parts.push({ type: 'audio_url', audio_url: { url: track } })
      return parts
    }
    default:
      return part satisfies never
  }
}

/** A message of text alone is sent as a string, which every template reads. */
function joinText(parts: readonly Record<string, unknown>[]): unknown {
  if (!parts.every((part) => part['type'] === 'text')) return parts
  return parts.map((part) => String(part['text'])).join('')
}

/** @throws EngineError for media where only text may be */
export function textOf(parts: readonly GenerationPart[]): string {
  return parts
    .map((part) => {
      if (part.type === 'text') return part.text
      throw new EngineError('unsupported', 'An assistant message holds text only.', { param: 'messages' })
    })
    .join('')
}

export function toolCalls(message: Extract<GenerationMessage, { role: 'assistant' }>): Record<string, unknown> {
  if (!message.toolCalls || message.toolCalls.length === 0) return {}
  return {
    tool_calls: message.toolCalls.map((call) => ({
      id: call.id,
      type: 'function',
      function: { name: call.name, arguments: call.arguments },
    })),
  }
}

/** `tools` and `tool_choice`; nothing where none are offered. */
export function toolFields(request: GenerationRequest): Record<string, unknown> {
  if (!request.tools || request.tools.length === 0) return {}
  const choice = request.toolChoice ?? 'auto'
  return {
    tools: request.tools.map((tool) => ({ type: 'function', function: tool })),
    tool_choice: typeof choice === 'string' ? choice : { type: 'function', function: { name: choice.name } },
    ...(request.parallelToolCalls !== undefined && { parallel_tool_calls: request.parallelToolCalls }),
  }
}
