/**
 * One reply in progress: turns engine events into session events.
 *
 * In: engine events, and a call of `end` at any time. Out: session events. An output item opens with its first piece.
 * The end closes all open items, so that clients get every `done` event.
 */
import type { EngineEvent } from '../contract/index.ts'
import type { Usage } from '../protocol/index.ts'
import type { CallItem, Item, ItemStatus, ReplyItem } from './conversation.ts'
import type { OutputPlace, PartType, ReplyFacts, ReplyStatus, SessionEvent } from './events.ts'
import { Playback } from './playback.ts'

const SAMPLES_PER_MS = 24

export interface ActiveReplyOptions {
  readonly id: string
  readonly speaks: boolean
  readonly voice: string
  readonly metadata: Readonly<Record<string, string>> | undefined
  readonly newId: (kind: 'item' | 'call') => string
  readonly emit: (event: SessionEvent) => void
  /** Adds an item to the conversation. Returns the id of the previous item. */
  readonly addToConversation: (item: Item) => string | undefined
  readonly now: () => number
}

export class ActiveReply {
  readonly #options: ActiveReplyOptions
  readonly #output: Item[] = []
  readonly playback = new Playback()
  #message: ReplyItem | undefined
  readonly #calls = new Map<number, CallItem>()
  #ended = false

  constructor(options: ActiveReplyOptions) {
    this.#options = options
  }

  get id(): string {
    return this.#options.id
  }

  get ended(): boolean {
    return this.#ended
  }

  /** The message of the reply. Undefined before its first text or audio. */
  get message(): ReplyItem | undefined {
    return this.#message
  }

  begin(): void {
    this.#options.emit({ type: 'reply-created', reply: this.#facts('in_progress', undefined, undefined) })
  }

  /** Handles any event except `end`. */
  push(event: Exclude<EngineEvent, { readonly type: 'end' }>): void {
    if (this.#ended) return
    const { emit, speaks, now } = this.#options
    switch (event.type) {
      case 'start':
      case 'reasoning-delta':
        return
      case 'text-delta': {
        const place = this.#open()
        this.#message!.text += event.text
        emit({ type: speaks ? 'transcript-delta' : 'text-delta', delta: event.text, ...place })
        return
      }
      case 'audio-delta': {
        const place = this.#open()
        this.playback.sent(event.pcm.length / SAMPLES_PER_MS, now())
        emit({ type: 'audio-delta', pcm: event.pcm, ...place })
        return
      }
      case 'tool-call-delta':
        this.#call(event)
        return
      default:
        event satisfies never
    }
  }

  /** Ends the reply; further calls have no effect. A reply without output ends with an empty message. */
  end(status: Exclude<ReplyStatus, 'in_progress'>, usage: Usage | undefined, reason?: string, message?: string): void {
    if (this.#ended) return
    const { emit } = this.#options
    if (this.#output.length === 0 && status === 'completed') this.#open()
    this.#ended = true
    const itemStatus: ItemStatus = status === 'completed' ? 'completed' : 'incomplete'
    for (const [index, item] of this.#output.entries()) {
      if (item.type === 'reply') this.#closeMessage(item, index, itemStatus)
      else if (item.type === 'call' && item.status === 'in_progress') this.#closeCall(item, index, itemStatus)
    }
    emit({ type: 'reply-done', reply: this.#facts(status, usage, reason, message) })
  }

  #open(): OutputPlace {
    const { emit, addToConversation, newId, speaks, id } = this.#options
    if (this.#message === undefined) {
      const item: ReplyItem = { id: newId('item'), type: 'reply', text: '', spoken: speaks, status: 'in_progress' }
      this.#message = item
      const index = this.#add(item, addToConversation, emit)
      emit({ type: 'part-added', part: this.#part, replyId: id, itemId: item.id, index })
    }
    return this.#place(this.#message)
  }

  #add(
    item: Item,
    addToConversation: ActiveReplyOptions['addToConversation'],
    emit: ActiveReplyOptions['emit'],
  ): number {
    const index = this.#output.push(item) - 1
    emit({ type: 'output-added', item, replyId: this.id, index })
    emit({ type: 'item-created', item, previousItemId: addToConversation(item) })
    return index
  }

  #call(event: Extract<EngineEvent, { readonly type: 'tool-call-delta' }>): void {
    const { emit, addToConversation, newId } = this.#options
    let item = this.#calls.get(event.index)
    if (item === undefined) {
      for (const [index, open] of this.#output.entries()) {
        if (open.type === 'call' && open.status === 'in_progress') this.#closeCall(open, index, 'completed')
      }
      item = {
        id: newId('item'),
        type: 'call',
        // The engine's id is not used: the dialect defines the format of ids.
        callId: newId('call'),
        name: event.name ?? '',
        arguments: '',
        status: 'in_progress',
      }
      this.#calls.set(event.index, item)
      this.#add(item, addToConversation, emit)
    }
    if (event.arguments === '') return
    item.arguments += event.arguments
    emit({ type: 'call-delta', callId: item.callId, delta: event.arguments, ...this.#place(item) })
  }

  #closeMessage(item: ReplyItem, index: number, status: ItemStatus): void {
    const { emit, speaks } = this.#options
    const place = this.#place(item)
    item.status = status
    if (speaks) {
      emit({ type: 'transcript-done', text: item.text, ...place })
      emit({ type: 'audio-done', ...place })
    } else emit({ type: 'text-done', text: item.text, ...place })
    emit({ type: 'part-done', part: this.#part, text: item.text, ...place })
    emit({ type: 'output-done', item, replyId: this.id, index })
  }

  #closeCall(item: CallItem, index: number, status: ItemStatus): void {
    const { emit } = this.#options
    const { callId, name } = item
    item.status = status
    emit({ type: 'call-done', callId, name, arguments: item.arguments, ...this.#place(item) })
    emit({ type: 'output-done', item, replyId: this.id, index })
  }

  get #part(): PartType {
    return this.#options.speaks ? 'audio' : 'text'
  }

  #place(item: Item): OutputPlace {
    return { replyId: this.id, itemId: item.id, index: this.#output.indexOf(item) }
  }

  #facts(status: ReplyStatus, usage: Usage | undefined, reason: string | undefined, message?: string): ReplyFacts {
    const { id, speaks, voice, metadata } = this.#options
    return { id, status, speaks, voice, output: [...this.#output], usage, reason, message, metadata }
  }
}
