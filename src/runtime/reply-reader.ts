/**
 * Turns generated token ids into the reply's text, its tool calls, and the tokens to speak.
 *
 * In: one token id at a time. Out: reasoning and answer text that is safe to send (whole characters, no part of a stop
 * string), complete tool calls, and the ids to speak: those of answer text that has been sent. White space around the
 * reasoning block is dropped.
 */

import type { ToolDefinition } from '../contract/index.ts'
import type { SpokenToken } from '../models/speech.ts'
import type { Detokenizer } from '../prompt/detokenizer.ts'
import { createStopStrings } from './stop-strings.ts'
import { type ToolCall, readToolCall, type ToolMarkers } from './tool-calls.ts'

const TOOL_OPEN = '<tool_call>'
const TOOL_CLOSE = '</tool_call>'

/** The part of a tokenizer that the runtime needs. */
export interface RuntimeTokenizer {
  createDetokenizer(): Detokenizer
  encode(text: string): ArrayLike<number>
  /** Id of a token by its exact text, such as `</think>`. */
  tokenId(token: string): number | undefined
}

export interface ReplyReaderOptions {
  readonly tokenizer: RuntimeTokenizer
  readonly stop: readonly string[]
  /** Ids of `<think>` and `</think>`. Absent: they are plain text. */
  readonly think?: { readonly open: number; readonly close: number } | undefined
  /** Tools that may be called, and the ids around a call. Absent: calls are plain text. */
  readonly tools?: { readonly markers: ToolMarkers; readonly definitions: readonly ToolDefinition[] } | undefined
  /** Whether the prompt ends inside a reasoning block. */
  readonly startsInReasoning?: boolean
  /** Row of the first generated token in the thinker's sequence. Default 0. */
  readonly firstRow?: number
}

interface ReplyPiece {
  readonly channel: 'reasoning' | 'text'
  readonly text: string
}

export interface ReplyStep {
  readonly pieces: readonly ReplyPiece[]
  /** Tokens released to speech, in order. */
  readonly spoken: readonly SpokenToken[]
  /** A stop string was found: the reply is over. */
  readonly stopped: boolean
  /** A tool call that this token completes. */
  readonly call?: ToolCall
}

/** A token of the answer whose text has not been sent completely. `end`: offset in the answer, once it is known. */
interface PendingToken {
  readonly spoken: SpokenToken
  end: number | undefined
}

export class ReplyReader {
  readonly #options: ReplyReaderOptions
  readonly #stops
  #detokenizer: Detokenizer
  #channel: 'reasoning' | 'text' | 'call'
  /** The text of a call so far. */
  #callText = ''
  /** Whether leading white space is dropped: true until the channel's first other character. */
  #trimming: boolean
  /** Length of the answer so far, and of the part that has been sent. */
  #readLength = 0
  #sentLength = 0
  #pending: PendingToken[] = []
  /** Sent text of tokens that have not been released to speech. */
  #unspoken = ''
  #row: number
  #reasoningTokens = 0
  #textTokens = 0

  constructor(options: ReplyReaderOptions) {
    this.#options = options
    this.#row = options.firstRow ?? 0
    this.#stops = createStopStrings(options.stop)
    this.#detokenizer = options.tokenizer.createDetokenizer()
    this.#channel = options.startsInReasoning ? 'reasoning' : 'text'
    this.#trimming = options.startsInReasoning ?? false
  }

  get reasoning(): boolean {
    return this.#channel === 'reasoning'
  }

  /** Tokens inside the reasoning block so far. */
  get reasoningTokens(): number {
    return this.#reasoningTokens
  }

  /** Answer tokens so far, without the markers of the reasoning block and the white space after it. */
  get textTokens(): number {
    return this.#textTokens
  }

  /** Adds one generated id (not the end token). `speak: false`: an answer token is not spoken. */
  push(id: number, options: { speak: boolean } = { speak: true }): ReplyStep {
    const think = this.#options.think
    const row = this.#row
    this.#row += 1
    if (think && id === think.open && this.#channel === 'text') return this.#switchTo('reasoning')
    if (think && id === think.close) {
      return this.#channel === 'reasoning' ? this.#switchTo('text') : { pieces: [], spoken: [], stopped: false }
    }
    const markers = this.#options.tools?.markers
    if (markers && id === markers.open && this.#channel === 'text') return this.#openCall()
    if (markers && id === markers.close && this.#channel === 'call') return this.#closeCall()
    const raw = this.#detokenizer.push(id)
    if (this.#channel === 'call') {
      this.#textTokens += 1
      this.#callText += raw
      return { pieces: [], spoken: [], stopped: false }
    }
    const text = this.#trimmed(raw)
    if (this.#channel === 'reasoning') {
      this.#reasoningTokens += 1
      return { pieces: piece('reasoning', text), spoken: [], stopped: false }
    }
    if (this.#trimming && raw !== '') return { pieces: [], spoken: [], stopped: false }
    this.#textTokens += 1
    if (options.speak) this.#pending.push({ spoken: { id, row }, end: undefined })
    return this.#readAnswer(text)
  }

  /** Ends the reply without a stop string. Returns the text that was held back. */
  finish(): ReplyStep {
    if (this.#channel === 'call') {
      // An incomplete call is sent as text, but not spoken.
      const cut = TOOL_OPEN + this.#callText + this.#detokenizer.finish()
      return { pieces: piece('text', cut), spoken: [], stopped: false }
    }
    const remaining = this.#trimmed(this.#detokenizer.finish())
    if (this.#channel === 'reasoning') return { pieces: piece('reasoning', remaining), spoken: [], stopped: false }
    const step = this.#readAnswer(remaining)
    if (step.stopped) return step
    const text = this.#stops.flush()
    const spoken = [...step.spoken, ...this.#pending.map((token) => token.spoken)]
    this.#pending = []
    return { pieces: [...step.pieces, ...piece('text', text)], spoken, stopped: false }
  }

  #readAnswer(text: string): ReplyStep {
    if (text === '') return { pieces: [], spoken: [], stopped: false }
    this.#readLength += text.length
    for (const token of this.#pending) token.end ??= this.#readLength
    const { text: safe, stopped } = this.#stops.push(text)
    this.#sentLength += safe.length
    this.#unspoken += safe
    const spoken: SpokenToken[] = []
    while (this.#pending[0]?.end !== undefined && this.#pending[0].end <= this.#sentLength) {
      const token = this.#pending.shift()!
      spoken.push(token.spoken)
      const after = this.#sentLength - (token.end ?? this.#sentLength)
      this.#unspoken = this.#unspoken.slice(this.#unspoken.length - after)
    }
    // A token that overlaps the stop string was sent in part: that part is tokenized again to be spoken.
    if (stopped && this.#pending.length > 0 && this.#unspoken.trim() !== '')
      spoken.push(...Array.from(this.#options.tokenizer.encode(this.#unspoken), (id) => ({ id })))
    if (stopped) this.#pending = []
    return { pieces: piece('text', safe), spoken, stopped }
  }

  /** Starts a call. Returns the text before it that was held back. */
  #openCall(): ReplyStep {
    this.#textTokens += 1
    const step = this.finish()
    this.#channel = 'call'
    this.#callText = ''
    this.#unspoken = ''
    this.#detokenizer = this.#options.tokenizer.createDetokenizer()
    return step
  }

  #closeCall(): ReplyStep {
    this.#textTokens += 1
    const text = this.#callText + this.#detokenizer.finish()
    this.#channel = 'text'
    this.#trimming = true
    this.#detokenizer = this.#options.tokenizer.createDetokenizer()
    const call = readToolCall(text, this.#options.tools?.definitions ?? [])
    // Text that is not a valid call is sent as it was generated.
    if (call === undefined) return { pieces: piece('text', TOOL_OPEN + text + TOOL_CLOSE), spoken: [], stopped: false }
    return { pieces: [], spoken: [], stopped: false, call }
  }

  #switchTo(channel: 'reasoning' | 'text'): ReplyStep {
    const remaining = this.#trimmed(this.#detokenizer.finish())
    const pieces = this.#channel === 'reasoning' ? piece('reasoning', remaining) : []
    const before = this.#channel === 'text' && remaining !== '' ? this.#readAnswer(remaining) : undefined
    this.#channel = channel
    this.#trimming = true
    this.#detokenizer = this.#options.tokenizer.createDetokenizer()
    return before ?? { pieces, spoken: [], stopped: false }
  }

  #trimmed(text: string): string {
    if (!this.#trimming) return text
    const remaining = text.trimStart()
    if (remaining !== '') this.#trimming = false
    return remaining
  }
}

function piece(channel: ReplyPiece['channel'], text: string): readonly ReplyPiece[] {
  return text === '' ? [] : [{ channel, text }]
}
