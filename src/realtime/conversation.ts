/** The items of a session's conversation, and the engine messages made from them. */
import type { AudioMedium, GenerationMessage, GenerationPart, ImageMedium, ToolCall } from '../contract/index.ts'

export type SessionImage = ImageMedium & AsyncDisposable

export type InputPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'audio'; readonly audio: AudioMedium; transcript: string | undefined }
  | { readonly type: 'image'; readonly image: SessionImage }

export interface InputItem {
  readonly id: string
  readonly type: 'input'
  readonly role: 'user' | 'system'
  readonly parts: readonly InputPart[]
}

/** A reply's message. After an interruption, `text` is the part that was played. */
export interface ReplyItem {
  readonly id: string
  readonly type: 'reply'
  text: string
  readonly spoken: boolean
  status: ItemStatus
}

export interface CallItem {
  readonly id: string
  readonly type: 'call'
  readonly callId: string
  readonly name: string
  arguments: string
  status: ItemStatus
}

export interface CallOutputItem {
  readonly id: string
  readonly type: 'call-output'
  readonly callId: string
  readonly output: string
}

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete'
export type Item = InputItem | ReplyItem | CallItem | CallOutputItem

/** The part of the conversation that becomes the prompt. */
export interface HistoryLimits {
  /** Most user turns in the prompt when the newest one is spoken. */
  readonly spokenTurns: number
  /** Form of earlier spoken turns: their audio, or their transcript if there is one. */
  readonly historyAudio: 'audio' | 'transcript'
}

export class Conversation {
  readonly #turns: number
  #items: Item[] = []

  /** `turns`: most user turns in the conversation. Older ones are removed. */
  constructor(turns: number) {
    this.#turns = turns
  }

  get items(): readonly Item[] {
    return this.#items
  }

  get lastId(): string | undefined {
    return this.#items.at(-1)?.id
  }

  find(id: string): Item | undefined {
    return this.#items.find((item) => item.id === id)
  }

  /** The id of the previous item, undefined for the first. */
  before(id: string): string | undefined {
    const at = this.#items.findIndex((item) => item.id === id)
    return at > 0 ? this.#items[at - 1]!.id : undefined
  }

  /** Adds an item at the end, or after `previous` (`root`: at the start). Returns old items that were removed. */
  add(item: Item, previous?: string): readonly Item[] {
    const at = previous === 'root' ? 0 : this.#items.findIndex(({ id }) => id === previous) + 1
    if (previous === undefined || at > this.#items.length) this.#items.push(item)
    else this.#items.splice(at, 0, item)
    return item.type === 'input' && item.role === 'user' ? this.#trim() : []
  }

  remove(id: string): Item | undefined {
    const at = this.#items.findIndex((item) => item.id === id)
    return at < 0 ? undefined : this.#items.splice(at, 1)[0]
  }

  #trim(): readonly Item[] {
    const kept = newestTurns(this.#items, this.#turns)
    const removed = this.#items.filter((item) => !kept.includes(item))
    this.#items = [...kept]
    return removed
  }

  /**
   * The messages of a prompt. Tool calls are part of the preceding assistant message. `history` limits the turns before
   * a spoken one, and selects the form of earlier spoken turns. `next`: an item that is appended for this prompt only.
   */
  messages(instructions: string, history: HistoryLimits, next?: InputItem): GenerationMessage[] {
    const out: GenerationMessage[] = []
    const items = next === undefined ? this.#items : newestTurns([...this.#items, next], this.#turns)
    const starts = turnStarts(items)
    const newest = starts.at(-1) ?? 0
    const turn = items[newest]
    const isSpoken = turn?.type === 'input' && turn.parts.some(({ type }) => type === 'audio')
    const first = isSpoken ? (starts.at(-history.spokenTurns) ?? 0) : 0
    if (instructions !== '') out.push({ role: 'system', content: [{ type: 'text', text: instructions }] })
    for (const [index, item] of items.entries()) {
      if (index < first && !isSystem(item)) continue
      addMessage(out, item, history.historyAudio === 'transcript' && index < newest)
    }
    return out
  }
}

/** Indices of the items that start a user turn. */
function turnStarts(items: readonly Item[]): number[] {
  return items.flatMap((item, index) => (item.type === 'input' && item.role === 'user' ? [index] : []))
}

/** The newest user turns with the items that follow them, and all system items. */
function newestTurns(items: readonly Item[], turns: number): readonly Item[] {
  const starts = turnStarts(items)
  if (starts.length <= turns) return items
  const first = starts[starts.length - turns]!
  return items.filter((item, index) => index >= first || isSystem(item))
}

function isSystem(item: Item): boolean {
  return item.type === 'input' && item.role === 'system'
}

function addMessage(out: GenerationMessage[], item: Item, asTranscript: boolean): void {
  switch (item.type) {
    case 'input':
      out.push({ role: item.role, content: item.parts.map((part) => partOf(part, asTranscript)) })
      return
    case 'reply':
      if (item.text !== '') out.push({ role: 'assistant', content: [{ type: 'text', text: item.text }] })
      return
    case 'call':
      addCall(out, { id: item.callId, name: item.name, arguments: item.arguments })
      return
    case 'call-output':
      out.push({ role: 'tool', toolCallId: item.callId, content: [{ type: 'text', text: item.output }] })
      return
    default:
      item satisfies never
  }
}

function partOf(part: InputPart, asTranscript: boolean): GenerationPart {
  switch (part.type) {
    case 'text':
      return part
    case 'audio':
      if (asTranscript && part.transcript !== undefined) return { type: 'text', text: part.transcript }
      return { type: 'audio', audio: part.audio }
    case 'image':
      return { type: 'image', image: part.image }
    default:
      return part satisfies never
  }
}

function addCall(messages: GenerationMessage[], call: ToolCall): void {
  const last = messages.at(-1)
  if (last?.role !== 'assistant') messages.push({ role: 'assistant', content: [], toolCalls: [call] })
  else messages[messages.length - 1] = { ...last, toolCalls: [...(last.toolCalls ?? []), call] }
}

/** Releases the media of items. */
export function releaseItems(items: readonly Item[]): void {
  for (const item of items) {
    if (item.type !== 'input') continue
    for (const part of item.parts) if (part.type === 'image') void part.image[Symbol.asyncDispose]()
  }
}
