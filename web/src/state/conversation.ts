/**
 * A conversation: turns, and their media.
 *
 * Media are stored apart from the turns and never changed, and every reply keeps its request with media by name, not
 * copied ({@link StoredRequest}), so the request can be rebuilt exactly even after earlier turns were edited or
 * deleted.
 */
import type { ChatRequest, Usage } from '../api/types.ts'
import type { Failure } from '../api/errors.ts'
import { newId } from './new-id.ts'

export type MediaKind = 'image' | 'audio' | 'video' | 'frames'

/** Where the bytes are: in the browser (`blob`), on the web (`url`), or a list of frames taken from a video. */
type MediaSource =
  | { type: 'blob'; blob: Blob }
  | { type: 'url'; url: string }
  | { type: 'frames'; frames: Blob[]; fps: number }

export interface Media {
  id: string
  kind: MediaKind
  name: string
  source: MediaSource
  width?: number
  height?: number
  /** Seconds. */
  duration?: number
  /** Bytes of the file as it was picked, when a smaller copy is sent in its place. */
  shrunkFrom?: number
}

export interface UserTurn {
  id: string
  role: 'user'
  text: string
  mediaIds: string[]
  /** The transcript, for display; the audio is what is sent. */
  transcript?: string
}

interface Metrics {
  /** Milliseconds from sending the request. */
  firstReasoning?: number
  firstText?: number
  firstAudio?: number
  total?: number
}

export interface AssistantTurn {
  id: string
  role: 'assistant'
  status: 'waiting' | 'streaming' | 'done' | 'stopped' | 'failed'
  text: string
  reasoning: string
  /** 24 kHz mono, once the reply is over. */
  pcm?: Int16Array
  model: string
  voice?: string
  metrics: Metrics
  usage?: Usage
  finishReason?: string
  failure?: Failure
  requestId?: string
  /** Part of a spoken conversation; its request is the same turn by chat. */
  talk?: true
  /** The server's warnings. */
  warnings?: string
  request: StoredRequest
}

export type Turn = UserTurn | AssistantTurn

export interface Conversation {
  id: string
  title: string
  /** The user set the title; it no longer follows the first message. */
  named?: boolean
  createdAt: number
  updatedAt: number
  turns: Turn[]
  media: Record<string, Media>
}

/** All text of the conversation, for searching: lower case, at most `SEARCHED` characters. */
export function searchTextOf(conversation: Conversation): string {
  return conversation.turns
    .map((turn) => (turn.role === 'user' ? `${turn.text}\n${turn.transcript ?? ''}` : turn.text))
    .join('\n')
    .slice(0, SEARCHED)
    .toLowerCase()
}

/** A request whose data URIs are replaced by `media:ID` (or `media:ID#N` for the Nth frame). */
export type StoredRequest = ChatRequest

const SEARCHED = 20_000

export function newConversation(now: number): Conversation {
  return { id: newId(), title: '', createdAt: now, updatedAt: now, turns: [], media: {} }
}

/** The given title, else the first words of the first message, or the name of its file. */
export function titleOf(conversation: Conversation): string {
  if (conversation.named === true) return conversation.title
  const first = conversation.turns.find((turn) => turn.role === 'user')
  if (!first) return ''
  const text = (first.text || (first.transcript ?? '')).trim().replaceAll(/\s+/g, ' ')
  if (text !== '') return text.length > 60 ? `${text.slice(0, 59)}…` : text
  const mediaId = first.mediaIds[0]
  return mediaId === undefined ? '' : (conversation.media[mediaId]?.name ?? '')
}
