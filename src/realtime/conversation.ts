/** The items of a session's conversation, and the messages that an engine gets of them. */
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

/** A reply's text. `text` is the played part, where it was interrupted. */
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

/** What of the conversation a model is given. */
export interface HistoryLimits {
  /** The newest user turns, where the newest of them is spoken. */
  readonly spokenTurns: number
  /** Of the user's turns before the newest: the recordings, or their words where they are known. */
  readonly historyAudio: 'audio' | 'transcript'
}

export class Conversation {
  readonly #turns: number
  #items: Item[] = []

  /** `turns`: the newest user turns that are kept. */
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

  /** The id of the item before, undefined for the first. */
  before(id: string): string | undefined {
    const at = this.#items.findIndex((item) => item.id === id)
    return at > 0 ? this.#items[at - 1]!.id : undefined
  }

  /** Adds an item at the end, or after `previous` (`root` is the beginning). Returns the turns that this removed. */
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
    const gone = this.#items.filter((item) => !kept.includes(item))
    this.#items = [...kept]
    return gone
  }

  /**
   * What an engine is asked. Calls are part of the assistant's message before them. Where `history` says so, the
   * user's turns before the newest have words in place of recordings, where the words are known, and a spoken turn
   * has few turns before it. With `next`: what it will be asked once that is an item.
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

/** Where the user's turns begin. */
function turnStarts(items: readonly Item[]): number[] {
  return items.flatMap((item, index) => (item.type === 'input' && item.role === 'user' ? [index] : []))
}

/** The newest user turns with what follows them, and all that is the system's. */
function newestTurns(items: readonly Item[], turns: number): readonly Item[] {
  const starts = turnStarts(items)
  if (starts.length <= turns) return items
  const first = starts[starts.length - turns]!
  return items.filter((item, index) => index >= first || isSystem(item))
}

function isSystem(item: Item): boolean {
  return item.type === 'input' && item.role === 'system'
}

function addMessage(out: GenerationMessage[], item: Item, inWords: boolean): void {
  switch (item.type) {
    case 'input':
      out.push({ role: item.role, content: item.parts.map((part) => partOf(part, inWords)) })
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

function partOf(part: InputPart, inWords: boolean): GenerationPart {
  switch (part.type) {
    case 'text':
      return part
    case 'audio':
      if (inWords && part.transcript !== undefined) return { type: 'text', text: part.transcript }
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

/** Frees the items' content. */
export function releaseItems(items: readonly Item[]): void {
  for (const item of items) {
    if (item.type !== 'input') continue
    for (const part of item.parts) if (part.type === 'image') void part.image[Symbol.asyncDispose]()
  }
}
