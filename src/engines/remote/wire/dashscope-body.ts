/**
 * A request in the format of Model Studio's compatible mode, which is also this server's format.
 *
 * In: a request of the contract. Out: a body. Used for DashScope and for other omniserve servers.
 */

import {
  EngineError,
  type GenerationMessage,
  type GenerationPart,
  type GenerationRequest,
} from '../../../contract/index.ts'
import { base64Of, dataUrl, isFrameList, onlyFile } from './media-parts.ts'
import { toolFields } from './messages.ts'
import { textOf, writeMessages } from './write-messages.ts'

export interface BodyLimits {
  /** Most characters of a `data:` URL. */
  readonly maxDataUrl?: number
  /** Whether the body includes the frame rate of videos. */
  readonly frameRate: boolean
}

/** Builds a body, including its media. @throws EngineError `unsupported` for a file over the peer's limit */
export async function dashscopeBody(
  request: GenerationRequest,
  model: string,
  voice: string | undefined,
  limits: BodyLimits,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  const messages = await writeMessages(withoutSpeechPrompt(request), async (part, role) =>
    role === 'system' ? [{ type: 'text', text: textOf([part]) }] : [await onePart(part, limits, signal)],
  )
  const { sampling } = request
  return {
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    modalities: request.speech ? ['text', 'audio'] : ['text'],
    ...(request.speech && { audio: { voice: voice ?? request.speech.voice, format: 'wav' } }),
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK ?? null,
    presence_penalty: sampling.presencePenalty,
    repetition_penalty: sampling.repetitionPenalty,
    seed: sampling.seed,
    ...tokenLimits(request),
    ...stopField(request),
    ...toolFields(request),
  }
}

/** `max_tokens` and `thinking_budget`, whose sum is within the total limit. */
function tokenLimits({ maxTokens, maxTotalTokens, thinking }: GenerationRequest): Record<string, unknown> {
  const answer = Math.min(maxTokens, maxTotalTokens ?? maxTokens)
  if (!thinking) return { max_tokens: answer }
  const left = maxTotalTokens === undefined ? undefined : Math.max(1, maxTotalTokens - answer)
  const budget = Math.min(thinking.budget ?? Number.POSITIVE_INFINITY, left ?? Number.POSITIVE_INFINITY)
  return { max_tokens: answer, enable_thinking: true, ...(Number.isFinite(budget) && { thinking_budget: budget }) }
}

function stopField({ stop, stopTokenIds = [] }: GenerationRequest): Record<string, unknown> {
  if (stop.length > 0 && stopTokenIds.length > 0)
    throw new EngineError('unsupported', 'It supports stop strings or stop token ids, not both.', { param: 'stop' })
  if (stop.length > 0) return { stop }
  return stopTokenIds.length > 0 ? { stop: stopTokenIds } : {}
}

/** Removes the speech prompt, because the peer adds its own. */
function withoutSpeechPrompt({ messages, speechPrompt }: GenerationRequest): readonly GenerationMessage[] {
  const [first, ...rest] = messages
  if (speechPrompt === undefined || first?.role !== 'system') return messages
  const [opening, gap, ...content] = first.content
  if (opening?.type !== 'text' || opening.text !== speechPrompt) return messages
  const own = gap?.type === 'text' && gap.text === '\n' ? content : gap === undefined ? content : [gap, ...content]
  return own.length === 0 ? rest : [{ ...first, content: own }, ...rest]
}

async function onePart(
  part: GenerationPart,
  limits: BodyLimits,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  const checked = (url: string): string => {
    if (limits.maxDataUrl === undefined || url.length < limits.maxDataUrl) return url
    throw new EngineError('unsupported', `It supports files of less than ${limits.maxDataUrl} characters in Base64.`, {
      param: 'messages',
    })
  }
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text }
    case 'image':
      return { type: 'image_url', image_url: { url: checked(await dataUrl(onlyFile(part.image.files), signal)) } }
    case 'audio': {
      const file = onlyFile(part.audio.files)
      const data = checked(`data:;base64,${await base64Of(file, signal)}`)
      return { type: 'input_audio', input_audio: { data, format: audioFormat(file.mimeType) } }
    }
    case 'video': {
      const { video } = part
      if (!isFrameList(video)) {
        const url = checked(`data:;base64,${await base64Of(onlyFile(video.files), signal)}`)
        return { type: 'video_url', video_url: { url }, ...(limits.frameRate && { fps: video.facts.fps }) }
      }
      const frames: string[] = []
      for (const file of video.files) frames.push(checked(await dataUrl(file, signal)))
      return { type: 'video', video: frames, ...(limits.frameRate && { fps: video.facts.fps }) }
    }
    default:
      return part satisfies never
  }
}

function audioFormat(mimeType: string): string {
  const kind = mimeType.replace(/^[a-z]+\/(?:x-|vnd\.)?/, '')
  return kind === 'mpeg' ? 'mp3' : kind === 'wave' ? 'wav' : kind
}
