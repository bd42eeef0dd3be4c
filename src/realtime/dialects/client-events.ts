/**
 * Client events of both dialects. The dialects support different events and name settings differently.
 *
 * In: one JSON object, and the dialect's {@link ClientSpelling}. Out: the session command.
 */
import { z } from 'zod'
import type { ReplyOverrides, SessionConfig } from '../config.ts'
import type { SessionCommand } from '../events.ts'
import { SessionFault } from '../fault.ts'
import type { SessionModel } from './dialect.ts'
import * as fields from './fields.ts'
import type { Json } from './fields.ts'
import { readItem, readReplyInput } from './items.ts'

/** Every client event of either dialect. */
export type ClientEventType =
  | 'session.update'
  | 'session.finish'
  | 'input_audio_buffer.append'
  | 'input_audio_buffer.commit'
  | 'input_audio_buffer.clear'
  | 'input_image_buffer.append'
  | 'output_audio_buffer.clear'
  | 'conversation.item.create'
  | 'conversation.item.delete'
  | 'conversation.item.retrieve'
  | 'conversation.item.truncate'
  | 'response.create'
  | 'response.cancel'

export interface ClientSpelling {
  /** The events that the dialect supports. */
  readonly events: readonly ClientEventType[]
  readonly model: SessionModel
  /** The current settings `config`, updated with those of `session.update`. @throws SessionFault */
  settings(given: Json, config: SessionConfig): SessionConfig
  /** The settings of `response.create`. @throws SessionFault */
  overrides(given: Json, config: SessionConfig): ReplyOverrides
}

/** Most bytes of one image, before Base64. */
const MAX_IMAGE_BYTES = 500 * 1024

/** Reads one client event. @throws SessionFault for an event that is unknown or malformed */
export function readClientEvent(event: Json, spelling: ClientSpelling, config: SessionConfig): SessionCommand {
  const kind = spelling.events.find((name) => name === event['type'])
  switch (kind) {
    case undefined:
      throw fields.unknownEvent(event['type'], spelling.events)
    case 'session.update':
      return { type: 'update', config: spelling.settings(fields.objectAt(event, 'session', 'session') ?? {}, config) }
    case 'session.finish':
      return { type: 'finish' }
    case 'input_audio_buffer.append':
      return { type: 'append-audio', samples: fields.audioAt(event, 'audio', 'audio') }
    case 'input_audio_buffer.commit':
      return { type: 'commit' }
    case 'input_audio_buffer.clear':
      return { type: 'clear' }
    case 'input_image_buffer.append':
      return { type: 'append-image', source: imageAt(event, spelling.model) }
    // Over WebSocket, the client owns its playback buffer.
    case 'output_audio_buffer.clear':
      return { type: 'nothing' }
    case 'conversation.item.create': {
      const given = fields.objectAt(event, 'item', 'item')
      if (given === undefined) throw fields.wrong('item', 'an object')
      const previous = fields.optional(z.string(), event['previous_item_id'], 'previous_item_id', 'a string')
      return { type: 'create-item', item: readItem(given), previousItemId: previous }
    }
    case 'conversation.item.delete':
      return { type: 'delete-item', itemId: fields.textAt(event, 'item_id', 'item_id') }
    case 'conversation.item.retrieve':
      return { type: 'retrieve-item', itemId: fields.textAt(event, 'item_id', 'item_id') }
    case 'conversation.item.truncate': {
      const milliseconds = z.number().min(0)
      const expects = 'milliseconds, 0 or more'
      return {
        type: 'truncate-item',
        itemId: fields.textAt(event, 'item_id', 'item_id'),
        audioEndMs: fields.valueOf(milliseconds, event['audio_end_ms'], 'audio_end_ms', expects),
      }
    }
    case 'response.create': {
      const given = fields.objectAt(event, 'response', 'response')
      if (given === undefined) return { type: 'create-response', overrides: {} }
      const overrides = spelling.overrides(given, config)
      return { type: 'create-response', overrides, input: readReplyInput(given['input']) }
    }
    case 'response.cancel':
      return {
        type: 'cancel-response',
        replyId: fields.optional(z.string(), event['response_id'], 'response_id', 'a string'),
      }
    default:
      return kind satisfies never
  }
}

/** The image as a data URI. @throws SessionFault for a large image, and without image support */
function imageAt(event: Json, model: SessionModel): string {
  const text = fields.textAt(event, 'image', 'image')
  const base64 = text.replace(/^data:[^,]*,/, '')
  if (base64.length > Math.ceil(MAX_IMAGE_BYTES / 3) * 4)
    throw new SessionFault(`Invalid value: 'image' is over ${MAX_IMAGE_BYTES / 1024} KB; make the JPEG smaller.`, {
      param: 'image',
    })
  if (!model.images)
    throw new SessionFault(`The checkpoint '${model.checkpoint}' loaded here does not support images.`, {
      param: 'image',
    })
  return `data:;base64,${base64}`
}
