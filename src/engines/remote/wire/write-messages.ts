/**
 * Messages of a request in OpenAI's format, for every peer.
 *
 * In: messages of the contract, and how a peer expects parts. Out: messages of a body.
 */

import { EngineError, type GenerationMessage, type GenerationPart } from '../../../contract/index.ts'

type Json = Record<string, unknown>

/** Converts one part of a system or user message; a part may become several. */
export type PartWriter = (part: GenerationPart, role: 'system' | 'user') => Promise<readonly Json[]>

/** @throws EngineError for media in assistant and tool messages; rejects as `write` does */
export async function writeMessages(messages: readonly GenerationMessage[], write: PartWriter): Promise<Json[]> {
  const written: Json[] = []
  for (const message of messages) written.push(await writeMessage(message, write))
  return written
}

async function writeMessage(message: GenerationMessage, write: PartWriter): Promise<Json> {
  switch (message.role) {
    case 'system':
    case 'user': {
      const parts: Json[] = []
      for (const part of message.content) parts.push(...(await write(part, message.role)))
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

/** A message of text alone is sent as a string, which every template supports. */
function joinText(parts: readonly Json[]): unknown {
  if (!parts.every((part) => part['type'] === 'text')) return parts
  return parts.map((part) => String(part['text'])).join('')
}

/** @throws EngineError for media, where only text is supported */
export function textOf(parts: readonly GenerationPart[]): string {
  return parts
    .map((part) => {
      if (part.type === 'text') return part.text
      throw new EngineError('unsupported', 'It supports media only in user messages.', { param: 'messages' })
    })
    .join('')
}

function toolCalls(message: Extract<GenerationMessage, { role: 'assistant' }>): Json {
  if (!message.toolCalls || message.toolCalls.length === 0) return {}
  return {
    tool_calls: message.toolCalls.map((call) => ({
      id: call.id,
      type: 'function',
      function: { name: call.name, arguments: call.arguments },
    })),
  }
}
