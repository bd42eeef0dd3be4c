/** Reads and writes conversation items as JSON, for both dialects. */
import { z } from 'zod'
import type { Item } from '../conversation.ts'
import type { ClientItem, ClientPart, ReplyInput } from '../events.ts'
import * as fields from './fields.ts'
import type { Json } from './fields.ts'

/** Reads an item that a client creates. @throws SessionFault */
export function readItem(given: Json): ClientItem {
  const type = fields.optional(z.string(), given['type'], 'item.type', 'a string') ?? 'message'
  const id = fields.optional(z.string().min(1).max(128), given['id'], 'item.id', 'a string of at most 128 characters')
  const named = id === undefined ? {} : { id }
  switch (type) {
    case 'message':
      return readMessage(given, named)
    case 'function_call':
      return {
        type: 'call',
        ...named,
        callId: fields.textAt(given, 'call_id', 'item.call_id'),
        name: fields.textAt(given, 'name', 'item.name'),
        arguments: fields.textAt(given, 'arguments', 'item.arguments'),
      }
    case 'function_call_output':
      return {
        type: 'call-output',
        ...named,
        callId: fields.textAt(given, 'call_id', 'item.call_id'),
        output: fields.textAt(given, 'output', 'item.output'),
      }
    default:
      throw fields.wrong('item.type', 'message, function_call or function_call_output')
  }
}

/** Reads a reply's own input, which replaces the conversation. Undefined when absent. @throws SessionFault */
export function readReplyInput(given: unknown): readonly ReplyInput[] | undefined {
  const objects = z.array(z.record(z.string(), z.unknown()))
  return fields.optional(objects, given, 'response.input', 'a list of items')?.map((item) => {
    if (item['type'] !== 'item_reference') return readItem(item)
    return { type: 'reference', itemId: fields.textAt(item, 'id', 'response.input.id') }
  })
}

function readMessage(given: Json, named: { readonly id?: string }): ClientItem {
  const roles = z.enum(['user', 'system', 'assistant'])
  const role = fields.valueOf(roles, given['role'], 'item.role', 'user, system or assistant')
  const parts = z.array(z.record(z.string(), z.unknown())).min(1)
  const content = fields.valueOf(parts, given['content'], 'item.content', 'a list of parts')
  if (role === 'assistant') {
    const text = content
      .map((part) => part['text'] ?? part['transcript'])
      .filter((piece) => typeof piece === 'string')
      .join('')
    return { type: 'reply', ...named, text }
  }
  return {
    type: 'input',
    ...named,
    role,
    parts: content.map((part, index) => readPart(part, role, `item.content.${index}`)),
  }
}

function readPart(part: Json, role: 'user' | 'system', param: string): ClientPart {
  switch (part['type']) {
    case 'input_text':
    case 'text':
      return { type: 'text', text: fields.textAt(part, 'text', `${param}.text`) }
    case 'input_audio':
      if (role === 'user') return { type: 'audio', samples: fields.audioAt(part, 'audio', `${param}.audio`) }
      break
    case 'input_image': {
      const source = fields.textAt(part, 'image_url', `${param}.image_url`)
      if (!source.startsWith('data:')) throw fields.wrong(`${param}.image_url`, 'a data URI')
      if (role === 'user') return { type: 'image', source }
      break
    }
    default:
  }
  throw fields.wrong(`${param}.type`, role === 'user' ? 'input_text, input_audio or input_image' : 'input_text')
}

/** `opened`: without content that follows later. `named`: parts have only their type. `whole`: with all content. */
export type ItemForm = 'opened' | 'named' | 'whole'

export interface ItemSpelling {
  /** Types of the parts of replies. */
  readonly replyParts: { readonly text: string; readonly audio: string }
  /** Fields of an audio part without a transcript. */
  readonly noTranscript: Json
}

export function itemJson(item: Item, form: ItemForm, spelling: ItemSpelling): Json {
  const base = { id: item.id, object: 'realtime.item' }
  switch (item.type) {
    case 'input':
      return {
        ...base,
        type: 'message',
        status: 'completed',
        role: item.role,
        content: item.parts.map((part) => {
          if (part.type === 'text') return { type: 'input_text', text: part.text }
          if (part.type === 'image') return { type: 'input_image' }
          const { transcript } = part
          return { type: 'input_audio', ...(transcript === undefined ? spelling.noTranscript : { transcript }) }
        }),
      }
    case 'reply': {
      const type = spelling.replyParts[item.spoken ? 'audio' : 'text']
      const part = item.spoken ? { type, transcript: item.text } : { type, text: item.text }
      const content = form === 'opened' && item.status === 'in_progress' ? [] : [form === 'named' ? { type } : part]
      return { ...base, type: 'message', status: item.status, role: 'assistant', content }
    }
    case 'call':
      return {
        ...base,
        type: 'function_call',
        status: item.status,
        name: item.name,
        call_id: item.callId,
        arguments: form === 'opened' && item.status === 'in_progress' ? '' : item.arguments,
      }
    case 'call-output':
      return { ...base, type: 'function_call_output', status: 'completed', call_id: item.callId, output: item.output }
    default:
      return item satisfies never
  }
}
