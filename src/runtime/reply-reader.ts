/**
 * Turns generated token ids into the reply's text and the tokens to speak.
 *
 * In: one token id at a time. Out: pieces of reasoning and of answer that are safe to send (whole characters, no part
 * of a stop string), whole tool calls, and the ids that may be spoken: those whose text has been sent, never reasoning
 * or calls. White space around the reasoning block is dropped. Pure but for its state.
 */

import type { ToolDefinition } from '../contract/index.ts'
import type { SpokenToken } from '../models/speech.ts'
import type { Detokenizer } from '../prompt/detokenizer.ts'
import { createStopStrings } from './stop-strings.ts'
import { type ReadCall, readToolCall, type ToolMarkers } from './tool-calls.ts'

const TOOL_OPEN = '<tool_call>'
const TOOL_CLOSE = '</tool_call>'

/** What the runtime needs of a tokenizer. */
export interface RuntimeTokenizer {
  createDetokenizer(): Detokenizer
  encode(text: string): ArrayLike<number>
  /** Id of a token by its exact text, such as `</think>`. */
  tokenId(token: string): number | undefined
}

export interface ReplyReaderOptions {
  readonly tokenizer: RuntimeTokenizer
  readonly stop: readonly string[]
  /** Ids around the reasoning; absent when they count as text. */
  readonly think?: { readonly open: number; readonly close: number } | undefined
  /** Tools that may be called, and the ids around a call; absent when a call is text like any other. */
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
  /** A stop string has been met: the reply is over. */
  readonly stopped: boolean
  /** A call that has become whole. */
  readonly call?: ReadCall
}

/** A token of the answer whose text is not all sent yet. `end` is where its text ends, once known. */
interface HeldToken {
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
  /** Whether the channel has sent anything but white space (which is dropped at the edges of reasoning). */
  #trimming: boolean
  /** Length of the answer read so far, and how much of it has been sent. */
  #read = 0
  #sent = 0
  #held: HeldToken[] = []
  /** Sent text that belongs to no released token. */
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

  /** Answer tokens so far; markers of the reasoning block and the white space after it are not counted. */
  get textTokens(): number {
    return this.#textTokens
  }

  /** Takes one generated id (not the end token). `speak: false` keeps an answer token from being spoken. */
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
    if (options.speak) this.#held.push({ spoken: { id, row }, end: undefined })
    return this.#readAnswer(text)
  }

  /** The rest, when the reply ended otherwise than by a stop string. */
  finish(): ReplyStep {
    if (this.#channel === 'call') {
      // A call that was cut off is sent as text, but not spoken.
      const cut = TOOL_OPEN + this.#callText + this.#detokenizer.finish()
      return { pieces: piece('text', cut), spoken: [], stopped: false }
    }
    const rest = this.#trimmed(this.#detokenizer.finish())
    if (this.#channel === 'reasoning') return { pieces: piece('reasoning', rest), spoken: [], stopped: false }
    const step = this.#readAnswer(rest)
    if (step.stopped) return step
    const text = this.#stops.flush()
    const spoken = [...step.spoken, ...this.#held.map((token) => token.spoken)]
    this.#held = []
    return { pieces: [...step.pieces, ...piece('text', text)], spoken, stopped: false }
  }

  #readAnswer(text: string): ReplyStep {
    if (text === '') return { pieces: [], spoken: [], stopped: false }
    this.#read += text.length
    for (const token of this.#held) token.end ??= this.#read
    const { text: safe, stopped } = this.#stops.push(text)
    this.#sent += safe.length
    this.#unspoken += safe
    const spoken: SpokenToken[] = []
    while (this.#held[0]?.end !== undefined && this.#held[0].end <= this.#sent) {
      const token = this.#held.shift()!
      spoken.push(token.spoken)
      const after = this.#sent - (token.end ?? this.#sent)
      this.#unspoken = this.#unspoken.slice(this.#unspoken.length - after)
    }
    // A token that overlaps the stop string was sent in part: speak that part, as tokens of its own.
    if (stopped && this.#held.length > 0 && this.#unspoken.trim() !== '')
      spoken.push(...Array.from(this.#options.tokenizer.encode(this.#unspoken), (id) => ({ id })))
    if (stopped) this.#held = []
    return { pieces: piece('text', safe), spoken, stopped }
  }

  /** Sends what is held of the text before a call. */
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
    // Text that is no call is sent as it was generated.
    if (call === undefined) return { pieces: piece('text', TOOL_OPEN + text + TOOL_CLOSE), spoken: [], stopped: false }
    return { pieces: [], spoken: [], stopped: false, call }
  }

  #switchTo(channel: 'reasoning' | 'text'): ReplyStep {
    const rest = this.#trimmed(this.#detokenizer.finish())
    const pieces = this.#channel === 'reasoning' ? piece('reasoning', rest) : []
    const before = this.#channel === 'text' && rest !== '' ? this.#readAnswer(rest) : undefined
    this.#channel = channel
    this.#trimming = true
    this.#detokenizer = this.#options.tokenizer.createDetokenizer()
    return before ?? { pieces, spoken: [], stopped: false }
  }

  #trimmed(text: string): string {
    if (!this.#trimming) return text
    const rest = text.trimStart()
    if (rest !== '') this.#trimming = false
    return rest
  }
}

function piece(channel: ReplyPiece['channel'], text: string): readonly ReplyPiece[] {
  return text === '' ? [] : [{ channel, text }]
}
