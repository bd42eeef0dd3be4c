/**
 * Converts session events to server events. The dialects name them differently.
 *
 * In: a session event, and the dialect's {@link ServerSpelling}. Out: JSON events in order, without their `event_id`.
 */
import type { SessionConfig } from '../config.ts'
import type { OutputPlace, PartType, ReplyFacts, SessionEvent } from '../events.ts'
import { base64Of, type ServerEvent, type SessionNames } from './dialect.ts'
import type { Json } from './fields.ts'
import { itemJson, type ItemForm, type ItemSpelling } from './items.ts'

export interface ServerSpelling extends ItemSpelling {
  /** Prefixes of the event names for text, transcript and audio; `.delta` or `.done` follows. */
  readonly streams: { readonly text: string; readonly transcript: string; readonly audio: string }
  /** Event for a new item: `added`, followed by `done` when the item is complete, or only `created`. */
  readonly joined: 'conversation.item.added' | 'conversation.item.created'
  readonly doneForm: ItemForm
  /** Whether fields without a value are null. Otherwise they are omitted. */
  readonly nulls: boolean
  /** Events after `session.finish`. Without any, only the socket is closed. */
  readonly finished: readonly ServerEvent[]
  part(part: PartType, text: string): Json
  session(config: SessionConfig, names: SessionNames, updated: boolean): Json
  response(reply: ReplyFacts, names: SessionNames): Json
}

export function writeSessionEvent(
  event: SessionEvent,
  spelling: ServerSpelling,
  names: SessionNames,
): readonly ServerEvent[] {
  const { streams, nulls } = spelling
  switch (event.type) {
    case 'session-created':
      return [{ type: 'session.created', session: spelling.session(event.config, names, false) }]
    case 'session-updated':
      return [{ type: 'session.updated', session: spelling.session(event.config, names, true) }]
    case 'speech-started':
      return [{ type: 'input_audio_buffer.speech_started', audio_start_ms: event.at, item_id: event.itemId }]
    case 'speech-stopped':
      return [{ type: 'input_audio_buffer.speech_stopped', audio_end_ms: event.at, item_id: event.itemId }]
    case 'audio-committed': {
      const previous = given('previous_item_id', event.previousItemId, nulls)
      return [{ type: 'input_audio_buffer.committed', ...previous, item_id: event.itemId }]
    }
    case 'audio-cleared':
      return [{ type: 'input_audio_buffer.cleared' }]
    case 'item-created':
      return joined(event, spelling)
    case 'item-retrieved':
      return [{ type: 'conversation.item.retrieved', item: itemJson(event.item, 'opened', spelling) }]
    case 'item-deleted':
      return [{ type: 'conversation.item.deleted', item_id: event.itemId }]
    case 'item-truncated': {
      const { itemId, audioEndMs } = event
      return [{ type: 'conversation.item.truncated', ...contentOf(itemId), audio_end_ms: audioEndMs }]
    }
    case 'transcription-completed': {
      const type = 'conversation.item.input_audio_transcription.completed'
      return [{ type, ...contentOf(event.itemId), transcript: event.transcript }]
    }
    case 'transcription-failed': {
      const type = 'conversation.item.input_audio_transcription.failed'
      const { message } = event
      const error = { type: 'transcription_error', code: 'transcription_failed', message, param: null }
      return [{ type, ...contentOf(event.itemId), error }]
    }
    case 'reply-created':
      return [{ type: 'response.created', response: spelling.response(event.reply, names) }]
    case 'reply-done':
      return [{ type: 'response.done', response: spelling.response(event.reply, names) }]
    case 'output-added': {
      const item = itemJson(event.item, 'opened', spelling)
      const { replyId, index } = event
      return [{ type: 'response.output_item.added', response_id: replyId, output_index: index, item }]
    }
    case 'output-done': {
      const item = itemJson(event.item, spelling.doneForm, spelling)
      const { replyId, index } = event
      const done = { type: 'response.output_item.done', response_id: replyId, output_index: index, item }
      return spelling.joined === 'conversation.item.added' ? [done, { type: 'conversation.item.done', item }] : [done]
    }
    case 'part-added':
      return [{ type: 'response.content_part.added', ...placeOf(event), part: spelling.part(event.part, '') }]
    case 'part-done':
      return [{ type: 'response.content_part.done', ...placeOf(event), part: spelling.part(event.part, event.text) }]
    case 'text-delta':
      return [{ type: `${streams.text}.delta`, ...placeOf(event), delta: event.delta }]
    case 'text-done':
      return [{ type: `${streams.text}.done`, ...placeOf(event), text: event.text }]
    case 'transcript-delta':
      return [{ type: `${streams.transcript}.delta`, ...placeOf(event), delta: event.delta }]
    case 'transcript-done':
      return [{ type: `${streams.transcript}.done`, ...placeOf(event), transcript: event.text }]
    case 'audio-delta':
      return [{ type: `${streams.audio}.delta`, ...placeOf(event), delta: base64Of(event.pcm) }]
    case 'audio-done':
      return [{ type: `${streams.audio}.done`, ...placeOf(event) }]
    case 'call-delta': {
      const type = 'response.function_call_arguments.delta'
      return [{ type, ...callPlace(event), call_id: event.callId, delta: event.delta }]
    }
    case 'call-done': {
      const type = 'response.function_call_arguments.done'
      const { callId, name, arguments: text } = event
      return [{ type, ...callPlace(event), call_id: callId, name, arguments: text }]
    }
    case 'fault': {
      const { type, code, message, param } = event.fault
      return [{ type: 'error', error: { type, code, message, param, ...given('event_id', event.eventId, nulls) } }]
    }
    case 'session-finished':
      return spelling.finished
    default:
      return event satisfies never
  }
}

function joined(
  event: Extract<SessionEvent, { readonly type: 'item-created' }>,
  spelling: ServerSpelling,
): readonly ServerEvent[] {
  const { item } = event
  const facts = {
    ...given('previous_item_id', event.previousItemId, spelling.nulls),
    item: itemJson(item, 'opened', spelling),
  }
  const first = { type: spelling.joined, ...facts }
  const whole = !('status' in item) || item.status === 'completed'
  if (spelling.joined === 'conversation.item.created' || !whole) return [first]
  return [first, { type: 'conversation.item.done', ...facts }]
}

function given(key: string, value: string | undefined, nulls: boolean): Json {
  if (value === undefined && !nulls) return {}
  return { [key]: value ?? null }
}

/** The one content part of an item. */
function contentOf(itemId: string): Json {
  return { item_id: itemId, content_index: 0 }
}

function placeOf(event: OutputPlace): Json {
  return { ...callPlace(event), content_index: 0 }
}

function callPlace({ replyId, itemId, index }: OutputPlace): Json {
  return { response_id: replyId, item_id: itemId, output_index: index }
}
