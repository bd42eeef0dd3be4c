/** A reply as one JSON object, for requests without `stream`: text, tool calls, and speech as a file. */
import { joinPcm } from '../../arithmetic/pcm.ts'
import type { EngineEvent } from '../../contract/index.ts'
import { encodeSpeech, encodeWav, SPEECH_RATE, type SpeechFormat } from '../../media/index.ts'
import type { ChatCompletion } from '../../protocol/index.ts'
import type { ReplyRecord } from './reply-record.ts'

export interface WholeReplyFacts {
  readonly requestId: string
  /** Seconds since 1970. */
  readonly created: number
  readonly model: string
  readonly thinking: boolean
  /** The format of the speech; undefined for replies of text. */
  readonly format: SpeechFormat | undefined
  readonly signal: AbortSignal
}

interface Call {
  id: string
  name: string
  arguments: string
}

/** Reads the engine to its end. @throws the engine's error */
export async function wholeReply(
  events: AsyncIterator<EngineEvent>,
  record: ReplyRecord,
  facts: WholeReplyFacts,
): Promise<ChatCompletion> {
  let content = ''
  let reasoning = ''
  const calls: Call[] = []
  const pieces: Int16Array[] = []
  for (;;) {
    const next = await events.next()
    if (next.done === true) throw new Error('the engine ended without an end event')
    const event = next.value
    switch (event.type) {
      case 'start':
        break
      case 'reasoning-delta':
        record.text(event.counts)
        reasoning += event.text
        break
      case 'text-delta':
        record.text(event.counts)
        content += event.text
        break
      case 'tool-call-delta': {
        record.text(event.counts)
        const call = (calls[event.index] ??= { id: '', name: '', arguments: '' })
        call.id ||= event.id ?? ''
        call.name ||= event.name ?? ''
        call.arguments += event.arguments
        break
      }
      case 'audio-delta':
        record.audio(event.pcm.length, event.counts)
        pieces.push(event.pcm)
        break
      case 'end': {
        // The engine releases the request only when the iterator is closed, even after its last event.
        await events.return?.()
        const usage = record.usage(event.usage)
        record.finish(event.reason, usage)
        const spoken = pieces.length > 0 && facts.format !== undefined
        const audio = spoken ? await audioOf(pieces, facts.format, facts) : undefined
        return {
          choices: [
            {
              message: {
                content: spoken || (calls.length > 0 && content === '') ? null : content,
                reasoning_content: reasoning,
                role: 'assistant',
                ...(audio !== undefined && { audio: { ...audio, transcript: content } }),
                ...(calls.length > 0 && {
                  tool_calls: calls.map(({ id, name, arguments: json }) => ({
                    id,
                    type: 'function' as const,
                    function: { name, arguments: json },
                  })),
                }),
              },
              finish_reason: event.reason,
              index: 0,
              logprobs: null,
            },
          ],
          object: 'chat.completion',
          usage,
          created: facts.created,
          system_fingerprint: null,
          model: facts.model,
          id: `chatcmpl-${facts.requestId}`,
        }
      }
      default:
        event satisfies never
    }
  }
}

async function audioOf(
  pieces: readonly Int16Array[],
  format: SpeechFormat,
  { requestId, created, signal }: WholeReplyFacts,
): Promise<{ id: string; data: string; expires_at: number }> {
  const file = format === 'wav' ? encodeWav(joinPcm(pieces), SPEECH_RATE) : await encoded(pieces, format, signal)
  return { id: `audio_${requestId}`, data: Buffer.from(file).toString('base64'), expires_at: created }
}

async function encoded(pieces: readonly Int16Array[], format: SpeechFormat, signal: AbortSignal): Promise<Uint8Array> {
  const out: Uint8Array[] = []
  for await (const piece of encodeSpeech(inTurn(pieces), format, signal)) out.push(piece)
  return Buffer.concat(out)
}

async function* inTurn(pieces: readonly Int16Array[]): AsyncGenerator<Int16Array> {
  yield* pieces
}
