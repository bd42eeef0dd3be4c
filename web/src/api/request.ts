/**
 * Builds the request of a turn.
 *
 * {@link buildRequest} names media (`media:ID`), so it is small and can be stored; {@link inlineMedia} puts the data
 * URIs in place. What is sent and what "Copy as" shows both come from the same two functions. Reference: the Qwen-Omni
 * guide (December 2025), the request samples; media part first, then the text.
 */
import type { Conversation, Media, StoredRequest, Turn } from '../state/conversation.ts'
import type { Settings } from '../state/settings.ts'
import { speaks, systemReason, thinks } from './rules.ts'
import type { ChatMessage, ChatRequest, ContentPart, ModelListing } from './types.ts'

const FORMATS: Record<string, string> = {
  'audio/wav': 'wav',
  'audio/x-wav': 'wav',
  'audio/wave': 'wav',
  'audio/mpeg': 'mp3',
  'audio/mp3': 'mp3',
  'audio/aac': 'aac',
  'audio/mp4': 'm4a',
  'audio/x-m4a': 'm4a',
  'audio/amr': 'amr',
  'audio/3gpp': '3gp',
  'audio/flac': 'flac',
  'audio/ogg': 'ogg',
  'audio/webm': 'webm',
}

/** The `format` of an audio part: from the media type, else from the name's ending. */
function audioFormat(media: Media): string | undefined {
  const type = media.source.type === 'blob' ? (media.source.blob.type.split(';')[0] ?? '') : ''
  const name = media.source.type === 'url' ? media.source.url.split(/[?#]/)[0]! : media.name
  return FORMATS[type] ?? /\.([a-z0-9]{2,4})$/i.exec(name)?.[1]?.toLowerCase()
}

function mediaPart(media: Media): ContentPart {
  const { source } = media
  const link = source.type === 'url' ? source.url : `media:${media.id}`
  switch (media.kind) {
    case 'image':
      return { type: 'image_url', image_url: { url: link } }
    case 'audio': {
      const format = audioFormat(media)
      return { type: 'input_audio', input_audio: format === undefined ? { data: link } : { data: link, format } }
    }
    case 'video':
      return { type: 'video_url', video_url: { url: link } }
    case 'frames': {
      if (source.type !== 'frames') throw new TypeError(`media ${media.id} has no frames`)
      return { type: 'video', video: source.frames.map((_, index) => `media:${media.id}#${index}`), fps: source.fps }
    }
    default:
      return media.kind satisfies never
  }
}

function message(turn: Turn, conversation: Conversation): ChatMessage | undefined {
  if (turn.role === 'assistant') return turn.text === '' ? undefined : { role: 'assistant', content: turn.text }
  const media = turn.mediaIds.map((id) => conversation.media[id]).filter((item) => item !== undefined)
  if (media.length === 0) return { role: 'user', content: turn.text }
  const parts = media.map(mediaPart)
  if (turn.text.trim() !== '') parts.push({ type: 'text', text: turn.text })
  return { role: 'user', content: parts }
}

/** The request for a reply to the conversation's turns up to and without `end`. */
export function buildRequest(
  conversation: Conversation,
  end: number,
  model: ModelListing,
  settings: Settings,
): StoredRequest {
  const messages = conversation.turns
    .slice(0, end)
    .map((turn) => message(turn, conversation))
    .filter((item) => item !== undefined)
  if (settings.system.trim() !== '' && systemReason(model, settings) === undefined)
    messages.unshift({ role: 'system', content: settings.system })
  const spoken = speaks(model, settings)
  const request: ChatRequest = {
    model: model.id,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    modalities: spoken ? ['text', 'audio'] : ['text'],
  }
  if (spoken) request.audio = { voice: settings.voice, format: 'wav' }
  if (thinks(model, settings)) {
    request.enable_thinking = true
    if (settings.thinkingBudget !== null) request.thinking_budget = settings.thinkingBudget
  }
  if (settings.temperature !== null) request.temperature = settings.temperature
  if (settings.topP !== null) request.top_p = settings.topP
  if (settings.topK !== null) request.top_k = settings.topK
  if (settings.presencePenalty !== null) request.presence_penalty = settings.presencePenalty
  if (settings.repetitionPenalty !== null) request.repetition_penalty = settings.repetitionPenalty
  if (settings.seed !== null) request.seed = settings.seed
  if (settings.maxTokens !== null) request.max_tokens = settings.maxTokens
  if (settings.stop.length > 0) request.stop = settings.stop
  return request
}

const encoded = new WeakMap<Blob, Promise<string>>()

function toBase64(blob: Blob): Promise<string> {
  let text = encoded.get(blob)
  if (text === undefined) {
    text = new Promise((resolve, reject) => {
      const reader = new FileReader()
      reader.addEventListener('load', () => resolve((reader.result as string).replace(/^[^,]*,/, '')))
      reader.addEventListener('error', () => reject(reader.error ?? new Error('The file could not be read.')))
      reader.readAsDataURL(blob)
    })
    encoded.set(blob, text)
  }
  return text
}

/** Images carry their type; audio and video are sent as in the guide, `data:;base64,`. */
async function dataUri(kind: Media['kind'], blob: Blob): Promise<string> {
  const type = kind === 'image' || kind === 'frames' ? blob.type || 'image/jpeg' : ''
  return `data:${type};base64,${await toBase64(blob)}`
}

/** The request as it is sent. Throws when media that it names are missing. */
export async function inlineMedia(request: StoredRequest, media: Record<string, Media>): Promise<ChatRequest> {
  const resolve = async (link: string): Promise<string> => {
    if (!link.startsWith('media:')) return link
    const [id = '', frame] = link.slice('media:'.length).split('#')
    const item = media[id]
    if (item?.source.type === 'blob') return dataUri(item.kind, item.source.blob)
    const blob = item?.source.type === 'frames' ? item.source.frames[Number(frame)] : undefined
    if (item === undefined || blob === undefined)
      throw new Error(`The file of this message (${id}) is no longer stored.`)
    return dataUri(item.kind, blob)
  }
  const part = async (value: ContentPart): Promise<ContentPart> => {
    switch (value.type) {
      case 'text':
        return value
      case 'image_url':
        return { type: 'image_url', image_url: { url: await resolve(value.image_url.url) } }
      case 'input_audio':
        return {
          type: 'input_audio',
          input_audio: { ...value.input_audio, data: await resolve(value.input_audio.data) },
        }
      case 'video':
        return { ...value, video: await Promise.all(value.video.map(resolve)) }
      case 'video_url':
        return { type: 'video_url', video_url: { url: await resolve(value.video_url.url) } }
      default:
        return value satisfies never
    }
  }
  const messages = await Promise.all(
    request.messages.map(async (item): Promise<ChatMessage> =>
      typeof item.content === 'string' ? item : { role: item.role, content: await Promise.all(item.content.map(part)) },
    ),
  )
  return { ...request, messages }
}
