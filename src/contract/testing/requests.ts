/** Small generation requests for tests, and reading a whole reply. */

import type { EndReason, Engine, EngineEvent, EngineUsage, GenerationRequest, ToolCall } from '../index.ts'

let counter = 0

/** A text request; greedy, one user turn, 64 tokens, unless said otherwise. */
export function makeRequest(
  overrides: Partial<GenerationRequest> & { text?: string; voice?: string } = {},
): GenerationRequest {
  const { text, voice, ...rest } = overrides
  counter += 1
  return {
    id: `request-${counter}`,
    model: 'fake-omni',
    messages: [{ role: 'user', content: [{ type: 'text', text: text ?? 'Hello there.' }] }],
    sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed: 1234 },
    maxTokens: 64,
    stop: [],
    ...(voice !== undefined && { speech: { voice } }),
    ...rest,
  }
}

export interface Reply {
  readonly events: readonly EngineEvent[]
  readonly text: string
  readonly reasoning: string
  readonly pcm: Int16Array
  readonly usage: EngineUsage
  readonly reason: EndReason
  /** Names and arguments of the calls, in order. */
  readonly toolCalls: readonly ToolCall[]
}

/** Reads a reply to its end. */
export async function readReply(
  engine: Pick<Engine, 'generate'>,
  request: GenerationRequest,
  signal: AbortSignal = new AbortController().signal,
): Promise<Reply> {
  const events: EngineEvent[] = []
  for await (const event of engine.generate(request, signal)) events.push(event)
  return summarise(events)
}

/** Joins a reply's events. Throws when it has no end. */
function summarise(events: readonly EngineEvent[]): Reply {
  let text = ''
  let reasoning = ''
  const pieces: Int16Array[] = []
  const calls: ToolCall[] = []
  let end: Extract<EngineEvent, { type: 'end' }> | undefined
  for (const event of events) {
    switch (event.type) {
      case 'start':
        break
      case 'text-delta':
        text += event.text
        break
      case 'reasoning-delta':
        reasoning += event.text
        break
      case 'tool-call-delta': {
        const { index, id, name } = event
        const call = (calls[index] ??= { id: id ?? '', name: name ?? '', arguments: '' })
        calls[index] = { ...call, arguments: call.arguments + event.arguments }
        break
      }
      case 'audio-delta':
        pieces.push(event.pcm)
        break
      case 'end':
        end = event
        break
      default:
        event satisfies never
    }
  }
  if (!end) throw new Error('The reply has no end.')
  const pcm = new Int16Array(pieces.reduce((length, piece) => length + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    pcm.set(piece, at)
    at += piece.length
  }
  return { events, text, reasoning, pcm, usage: end.usage, reason: end.reason, toolCalls: calls }
}
