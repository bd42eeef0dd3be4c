/**
 * Converts engine events to the text of server-sent events. Pure: the clock and the id are passed in.
 *
 * In: one reply's facts, then its events. Out: SSE text. What is equal in every chunk is serialised once.
 * Reference: the result samples of the Qwen-Omni guide (December 2025).
 */
import type { TextCarrier } from '../../catalogue/index.ts'
import type { EngineEvent } from '../../contract/index.ts'
import { type ChunkDelta, type FinishReason, SSE_DONE, sseEvent, type Usage } from '../../protocol/index.ts'
import { AudioPieces } from './audio-pieces.ts'

export interface ReplyFacts {
  /** The request's uuid. */
  readonly requestId: string
  /** Seconds since 1970. */
  readonly created: number
  /** As requested. */
  readonly model: string
  readonly thinking: boolean
  /** The field for the text of a spoken reply. */
  readonly spokenTextIn: TextCarrier
  readonly speaks: boolean
}

export class ChunkWriter {
  readonly #facts: ReplyFacts
  readonly #tail: string
  readonly #audioTail: string
  readonly #audio = new AudioPieces()
  #answering: boolean

  constructor(facts: ReplyFacts) {
    this.#facts = facts
    this.#answering = !facts.thinking
    const id = `chatcmpl-${facts.requestId}`
    this.#tail = `,"created":${facts.created},"system_fingerprint":null,"model":${JSON.stringify(facts.model)},"id":"${id}"}\n\n`
    this.#audioTail = `","expires_at":${facts.created},"id":"audio_${facts.requestId}"}}`
  }

  /** Samples of speech so far. */
  get samples(): number {
    return this.#audio.samples
  }

  /** The chunk that opens the reply. */
  role(): string {
    const delta: ChunkDelta = this.#facts.thinking
      ? { content: null, role: 'assistant', reasoning_content: '' }
      : { content: '', role: 'assistant' }
    return this.#chunk(JSON.stringify(delta), 'null')
  }

  reasoning(text: string): string {
    return this.#chunk(`{"content":null,"reasoning_content":${JSON.stringify(text)}}`, 'null')
  }

  text(text: string): string {
    this.#answering = true
    const json = JSON.stringify(text)
    if (!this.#facts.speaks) return this.#chunk(`{"content":${json}}`, 'null')
    switch (this.#facts.spokenTextIn) {
      case 'content':
        return this.#chunk(`{"content":${json}}`, 'null')
      case 'transcript':
        return this.#chunk(`{"audio":{"transcript":${json}}}`, 'null')
      case 'both':
        return this.#chunk(`{"content":${json},"audio":{"transcript":${json}}}`, 'null')
      default:
        return this.#facts.spokenTextIn satisfies never
    }
  }

  /** A piece of a tool call, as OpenAI streams them: id, type and name with the first piece of a call. */
  toolCall({ index, id, name, arguments: text }: Extract<EngineEvent, { type: 'tool-call-delta' }>): string {
    const call = {
      index,
      ...(id !== undefined && { id, type: 'function' }),
      function: { ...(name !== undefined && { name }), arguments: text },
    }
    return this.#chunk(JSON.stringify({ content: null, tool_calls: [call] }), 'null')
  }

  /** 24 kHz mono samples; returns nothing until a piece is complete. */
  audio(pcm: Int16Array): string {
    let out = ''
    for (const piece of this.#audio.push(pcm)) out += this.#audioChunk(piece)
    return out
  }

  /** The last audio, the finish chunk, the usage chunk if requested, and the end mark. */
  end(reason: FinishReason, usage: Usage | undefined): string {
    let out = ''
    for (const piece of this.#audio.end()) out += this.#audioChunk(piece)
    const delta: ChunkDelta =
      this.#facts.thinking && this.#answering ? { content: '', reasoning_content: null } : { content: '' }
    out += this.#chunk(JSON.stringify(delta), `"${reason}"`)
    if (usage !== undefined) {
      out += `data: {"choices":[],"object":"chat.completion.chunk","usage":${JSON.stringify(usage)}${this.#tail}`
    }
    return out + SSE_DONE
  }

  /** The end of a stream that fails after it has begun. */
  static error(body: unknown): string {
    return sseEvent(body) + SSE_DONE
  }

  #audioChunk(piece: string): string {
    return this.#chunk(`{"audio":{"data":"${piece}${this.#audioTail}`, 'null')
  }

  #chunk(delta: string, finish: string): string {
    return `data: {"choices":[{"delta":${delta},"finish_reason":${finish},"index":0,"logprobs":null}],"object":"chat.completion.chunk","usage":null${this.#tail}`
  }
}
