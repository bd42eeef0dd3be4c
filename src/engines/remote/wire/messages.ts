/**
 * Messages and tools of a request in OpenAI's format, for vLLM, vLLM-Omni and SGLang-Omni.
 *
 * In: a request of the contract. Out: messages of a body, with media as `data:` URLs, and properties of its videos.
 */

import type { GenerationPart, GenerationRequest } from '../../../contract/index.ts'
import { EngineError } from '../../../contract/index.ts'
import { audioTrack, dataUrl, isFrameList, jpegFrames, onlyFile } from './media-parts.ts'
import { writeMessages } from './write-messages.ts'

export interface MessageStyle {
  /** How a frame list is sent. `refused`: not supported. */
  readonly frames: 'joined-jpeg' | 'refused'
  /** How the audio track of a video is sent: inside the video file, or as a separate part. */
  readonly videoAudio: 'inside' | 'separate'
}

export interface OpenAiMessages {
  readonly messages: readonly Record<string, unknown>[]
  /** Whether the peer uses the audio tracks inside the videos; all videos have one. */
  readonly useAudioInVideo: boolean
  /** Frames per second of frame lists, when there are any. */
  readonly frameRate: number | undefined
}

type Video = Extract<GenerationPart, { type: 'video' }>['video']

/**
 * Builds messages, including their media. @throws EngineError `unsupported` for parts that the style does not support
 */
export async function openAiMessages(
  request: GenerationRequest,
  style: MessageStyle,
  signal: AbortSignal,
): Promise<OpenAiMessages> {
  const videos = request.messages.flatMap((message) =>
    message.role === 'user' || message.role === 'system' ? message.content.flatMap(videoOf) : [],
  )
  // The peer's setting applies to all videos of a request, and fails for a video without an audio track.
  const inside =
    style.videoAudio === 'inside' && videos.length > 0 && videos.every(({ facts }) => facts.audio !== undefined)
  const lists = videos.filter(isFrameList)
  const messages = await writeMessages(request.messages, (part) => onePart(part, style, inside, signal))
  return { messages, useAudioInVideo: inside, frameRate: lists[0]?.facts.fps }
}

function videoOf(part: GenerationPart): Video[] {
  return part.type === 'video' ? [part.video] : []
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
        throw new EngineError('unsupported', 'It supports video files only, not frame lists.', {
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

/** `tools` and `tool_choice`. Empty without tools. */
export function toolFields(request: GenerationRequest): Record<string, unknown> {
  if (!request.tools || request.tools.length === 0) return {}
  const choice = request.toolChoice ?? 'auto'
  return {
    tools: request.tools.map((tool) => ({ type: 'function', function: tool })),
    tool_choice: typeof choice === 'string' ? choice : { type: 'function', function: { name: choice.name } },
    ...(request.parallelToolCalls !== undefined && { parallel_tool_calls: request.parallelToolCalls }),
  }
}
