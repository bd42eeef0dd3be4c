/**
 * One realtime session: a client's commands by the session's state, and their effects.
 *
 * In: commands of either dialect, in sequence. Out: session events, in the order of the realtime guide. The clock, ids,
 * voice activity detection and replies come through {@link SessionPorts}. One reply runs at a time.
 */
import { ApiError } from '../protocol/index.ts'
import { ActiveReply } from './active-reply.ts'
import { AudioBuffer, SAMPLE_RATE } from './audio-buffer.ts'
import { configFor, type ReplyOverrides, type SessionConfig } from './config.ts'
import {
  Conversation,
  type InputItem,
  type InputPart,
  type Item,
  releaseItems,
  type SessionImage,
} from './conversation.ts'
import type { GivenItem, ReplyInput, SessionCommand } from './events.ts'
import { replyFault, SessionFault } from './fault.ts'
import { type ItemMaker, makeItem } from './given-items.ts'
import { type Playback, playedText } from './playback.ts'
import type { RunningReply, SessionLimits, SessionPorts, SpeechStream } from './ports.ts'
import { createResampler, type Resampler } from './resample.ts'
import { TrailingSilence } from './trailing-silence.ts'
import { audioToCome, TurnAudio, TurnSender } from './turn-audio.ts'
import { TranscriptionQueue } from './transcription-queue.ts'
import { TurnDetector } from './voice-activity/turn-detector.ts'
import { WINDOW_SAMPLES } from './voice-activity/silero.ts'

/** Windows processed before yielding to the event loop: half a second of audio. */
const WINDOWS_AT_ONCE = 16

/** How long a reply may take to be requested before the turn's transcript is made. */
const TRANSCRIBE_AFTER_MS = 400

interface Running {
  readonly reply: ActiveReply
  readonly abort: AbortController
  /** Resolves once the engine is done with it. */
  done: Promise<void>
  source: RunningReply | undefined
}

/** The message that may still be playing. */
interface Playing {
  readonly itemId: string
  readonly playback: Playback
  /** All of it has been sent. */
  whole: boolean
}

export class RealtimeSession {
  readonly id: string
  readonly conversationId: string
  readonly #ports: SessionPorts
  readonly #limits: SessionLimits
  readonly #conversation: Conversation
  readonly #buffer = new AudioBuffer()
  readonly #transcriptions: TranscriptionQueue
  readonly #closing = new AbortController()
  #config: SessionConfig
  #images: SessionImage[] = []
  readonly #turnSender: TurnSender
  /** Images came with the last turn, or with this one: they stand before its audio. */
  #hasImages = false
  #resampler: Resampler
  #speech: SpeechStream | undefined
  #detector: TurnDetector | undefined
  readonly #silence = new TrailingSilence()
  /** The next window begins here, samples since the session began. */
  #windowAt = 0
  #turnId: string | undefined
  #running: Running | undefined
  #playing: Playing | undefined
  /** The turn that ended while a reply ran that it may not interrupt. */
  #replyOwedTo: string | undefined
  #heardAudio = false

  constructor(ports: SessionPorts, config: SessionConfig, limits: SessionLimits) {
    this.id = ports.newId('session')
    this.conversationId = ports.newId('conversation')
    this.#ports = ports
    this.#config = config
    this.#limits = limits
    this.#conversation = new Conversation(limits.turns)
    this.#resampler = createResampler(config.inputRate, SAMPLE_RATE)
    this.#turnSender = new TurnSender(this.#buffer, () => this.#openAudio())
    this.#transcriptions = new TranscriptionQueue(ports, () => this.#config, this.#closing.signal)
    this.#resetDetector()
  }

  get config(): SessionConfig {
    return this.#config
  }

  /** Whether a reply is in progress. */
  get replying(): boolean {
    return this.#running !== undefined && !this.#running.reply.ended
  }

  get userSpeaking(): boolean {
    return this.#detector?.speaking ?? false
  }

  /** The first event. */
  open(): void {
    this.#ports.emit({ type: 'session-created', config: this.#config })
    const { historyAudio, spokenTurns, turns } = this.#limits
    if (historyAudio === 'transcript')
      this.#ports.log(
        "earlier spoken turns of the user are given as transcripts: the checkpoint's history_audio says so",
      )
    if (spokenTurns < turns)
      this.#ports.log(
        `of a spoken conversation the newest ${spokenTurns} turns are given: max_spoken_history_turns says so`,
      )
  }

  /**
   * Executes a command. Rejects with a {@link SessionFault} for what is not possible now. Not to be called again before
   * it has settled.
   */
  async handle(command: SessionCommand): Promise<void> {
    switch (command.type) {
      case 'update':
        return this.#update(command.config)
      case 'append-audio':
        return this.#append(command.samples)
      case 'append-image':
        return this.#appendImage(command.source)
      case 'commit':
        return this.#commitAsked()
      case 'clear':
        return this.#clear()
      case 'create-item':
        return this.#createItem(command.item, command.previousItemId)
      case 'delete-item':
        return this.#deleteItem(command.itemId)
      case 'retrieve-item':
        this.#ports.emit({ type: 'item-retrieved', item: this.#itemOf(command.itemId) })
        return
      case 'truncate-item':
        return this.#truncateItem(command.itemId, command.audioEndMs)
      case 'create-response':
        return this.#createResponse(command.overrides, command.input)
      case 'cancel-response':
        return this.#cancelAsked(command.replyId)
      case 'finish':
        await this.settled()
        // Clients that end the session still want to know what was said.
        this.#transcriptions.work(() => false)
        await this.#transcriptions.idle()
        if (this.#closing.signal.aborted) return
        this.#ports.emit({ type: 'session-finished' })
        this.#ports.close(1000, '')
        return
      case 'nothing':
        return
      default:
        command satisfies never
    }
  }

  /** Resolves when no reply runs. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running.done
  }

  /** Ends everything. Resolves once no engine works for it any more. */
  async close(): Promise<void> {
    this.#closing.abort(new DOMException('The session is over.', 'AbortError'))
    const running = this.#running
    running?.abort.abort(this.#closing.signal.reason)
    await Promise.allSettled([running?.done, this.#transcriptions.idle()])
    this.#turnSender[Symbol.dispose]()
    releaseItems(this.#conversation.items)
    for (const image of this.#images.splice(0)) void image[Symbol.asyncDispose]()
  }

  // ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────

  #update(config: SessionConfig): void {
    const before = this.#config
    if (config.inputRate !== before.inputRate) {
      if (this.#heardAudio)
        throw new SessionFault('The input audio format cannot be changed once audio was appended.', {
          param: 'session.input_audio_format',
        })
      this.#resampler = createResampler(config.inputRate, SAMPLE_RATE)
    }
    this.#config = config
    const { turnDetection } = config
    if (JSON.stringify(turnDetection) !== JSON.stringify(before.turnDetection)) {
      if (turnDetection !== undefined && this.#detector?.speaking === true) this.#detector.adjust(turnDetection)
      else this.#resetDetector()
    }
    this.#ports.emit({ type: 'session-updated', config })
  }

  #resetDetector(): void {
    const detection = this.#config.turnDetection
    this.#turnId = undefined
    if (detection === undefined) {
      this.#detector = undefined
      return
    }
    this.#speech ??= this.#ports.speechStream()
    this.#windowAt = Math.max(this.#windowAt, this.#buffer.start)
    this.#detector = new TurnDetector({
      detection,
      sampleRate: SAMPLE_RATE,
      windowSamples: WINDOW_SAMPLES,
      startsAt: this.#windowAt,
    })
  }

  // ── audio in ─────────────────────────────────────────────────────────────────────────────────────────────────

  async #append(samples: Float32Array): Promise<void> {
    this.#heardAudio = true
    this.#buffer.push(this.#resampler.push(samples))
    if (this.#detector === undefined) {
      const held = this.#buffer.length / SAMPLE_RATE
      if (held <= this.#limits.turnSeconds) {
        this.#turnSender.send(this.#buffer.end)
        return
      }
      this.#buffer.dropBefore(this.#buffer.end)
      this.#turnSender[Symbol.dispose]()
      throw new SessionFault(
        `The input audio buffer was cleared: a turn may be ${this.#limits.turnSeconds} seconds long, this one is longer. Commit sooner.`,
        { code: 'input_audio_buffer_too_long' },
      )
    }
    let windows = 0
    while (this.#detector !== undefined && this.#windowAt + WINDOW_SAMPLES <= this.#buffer.end) {
      this.#lookAtWindow(this.#detector)
      windows += 1
      if (windows % WINDOWS_AT_ONCE === 0) await this.#ports.breathe()
      if (this.#closing.signal.aborted) return
    }
    if (this.#detector !== undefined && this.userSpeaking) this.#sendTurn(this.#detector)
  }

  /** Sends what has come of the turn or, in a pause, how it may end. */
  #sendTurn({ pause }: TurnDetector): void {
    const silentFrom = this.#silence.from
    if (pause === undefined || silentFrom === undefined || this.#windowAt < silentFrom)
      return this.#turnSender.send(this.#windowAt)
    this.#turnSender.send(silentFrom)
    this.#turnSender.mayEnd(pause.until)
  }

  #openAudio(): TurnAudio | undefined {
    const { openAudio } = this.#ports
    if (openAudio === undefined) return undefined
    const parts: InputPart[] = [{ type: 'audio', audio: audioToCome(), transcript: undefined }]
    const next: InputItem = { id: '', type: 'input', role: 'user', parts }
    const config = this.#config
    const messages = this.#conversation.messages(config.instructions, this.#limits, next)
    // What a running reply will be is not known, nor which images will stand before the audio.
    const prefills = !this.replying && !this.#hasImages
    return new TurnAudio(openAudio({ messages, config }, { prefills }, this.#closing.signal))
  }

  #lookAtWindow(detector: TurnDetector): void {
    const at = this.#windowAt
    const window = this.#buffer.read(at, at + WINDOW_SAMPLES)
    this.#windowAt += WINDOW_SAMPLES
    const { pause } = detector
    let change = detector.push(this.#speech!.push(window))
    this.#silence.push(at, window, change?.type === 'stop' ? pause : detector.pause)
    const turn = this.#buffer.end - this.#buffer.start
    if (change === undefined && detector.speaking && turn > this.#limits.turnSeconds * SAMPLE_RATE)
      change = detector.cut()
    if (change?.type === 'start') this.#speechStarted(change.at)
    else if (change?.type === 'stop') this.#speechStopped(change.at)
    else if (!detector.speaking) {
      const padding = (this.#config.turnDetection?.prefixPaddingMs ?? 0) / 1000
      this.#buffer.dropBefore(this.#windowAt - Math.round(padding * SAMPLE_RATE) - 2 * WINDOW_SAMPLES)
    }
  }

  #speechStarted(at: number): void {
    this.#buffer.dropBefore(at)
    this.#turnSender[Symbol.dispose]()
    this.#silence.reset()
    this.#turnId = this.#ports.newId('item')
    this.#ports.emit({ type: 'speech-started', itemId: this.#turnId, at: milliseconds(this.#buffer.start) })
    if (this.#config.turnDetection?.interruptResponse === true) this.#interrupt('turn_detected')
  }

  #speechStopped(at: number): void {
    const itemId = this.#turnId ?? this.#ports.newId('item')
    this.#ports.emit({ type: 'speech-stopped', itemId, at: milliseconds(at) })
    this.#commit(itemId, at, this.#silence.from)
    if (this.#config.turnDetection?.createResponse !== true) return
    if (this.replying) this.#replyOwedTo = itemId
    else this.#startReply({})
  }

  #commitAsked(): void {
    if (this.#buffer.length === 0)
      throw new SessionFault('The input audio buffer is empty: append audio before you commit it.', {
        code: 'input_audio_buffer_commit_empty',
      })
    this.#commit(this.#turnId ?? this.#ports.newId('item'), this.#buffer.end)
  }

  #commit(itemId: string, end: number, silentFrom?: number): void {
    const audio = this.#turnSender.take(end, silentFrom)
    this.#windowAt = Math.max(this.#windowAt, this.#buffer.start)
    this.#resetDetector()
    const part: InputPart = { type: 'audio', audio, transcript: undefined }
    this.#hasImages = this.#images.length > 0
    const images = this.#images.splice(0).map((image): InputPart => ({ type: 'image', image }))
    const item: InputItem = { id: itemId, type: 'input', role: 'user', parts: [...images, part] }
    this.#ports.emit({ type: 'audio-committed', itemId, previousItemId: this.#conversation.lastId })
    this.#addItem(item)
    this.#transcribe(item, this.#config.transcribes)
  }

  /** Has the words of an item's recordings made, to be sent or for the history. */
  #transcribe({ id, parts }: InputItem, shown: boolean): void {
    if (!shown && this.#limits.historyAudio === 'audio') return
    for (const part of parts) if (part.type === 'audio') this.#transcriptions.add({ itemId: id, part, shown })
    // A reply goes first. Where none follows soon, the transcript is what is wanted.
    this.#ports.later(TRANSCRIBE_AFTER_MS, () => this.#transcriptions.work(() => this.replying))
  }

  #clear(): void {
    this.#turnSender[Symbol.dispose]()
    this.#buffer.dropBefore(this.#buffer.end)
    this.#windowAt = this.#buffer.end
    this.#resetDetector()
    for (const image of this.#images.splice(0)) void image[Symbol.asyncDispose]()
    this.#ports.emit({ type: 'audio-cleared' })
  }

  async #appendImage(source: string): Promise<void> {
    if (!this.#heardAudio)
      throw new SessionFault('Append audio before the first image: images belong to the audio they come with.', {
        param: 'image',
      })
    const image = await this.#openImage(source)
    // From a running camera, a turn keeps the newest images.
    if (this.#images.length >= this.#limits.turnImages) void this.#images.shift()?.[Symbol.asyncDispose]()
    this.#images.push(image)
    this.#hasImages = true
  }

  async #openImage(source: string): Promise<SessionImage> {
    const image = await this.#ports.openImage(source, this.#closing.signal)
    if (!this.#closing.signal.aborted) return image
    await image[Symbol.asyncDispose]()
    throw this.#closing.signal.reason
  }

  // ── items ────────────────────────────────────────────────────────────────────────────────────────────────────

  #addItem(item: Item, previous?: string): void {
    const gone = this.#conversation.add(item, previous)
    this.#release(gone)
    if (gone.length > 0) this.#ports.log(`the oldest turn was left out: this model keeps ${this.#limits.turns} turns`)
    this.#ports.emit({ type: 'item-created', item, previousItemId: this.#conversation.before(item.id) })
  }

  /** Frees the content of items that are gone, once the running reply no longer needs it. */
  #release(items: readonly Item[]): void {
    if (this.#running === undefined) releaseItems(items)
    else void this.#running.done.then(() => releaseItems(items))
  }

  async #createItem(given: GivenItem, previous: string | undefined): Promise<void> {
    const id = given.id ?? this.#ports.newId('item')
    if (this.#conversation.find(id) !== undefined)
      throw new SessionFault(`An item with id '${id}' exists already.`, { param: 'item.id' })
    if (previous !== undefined && previous !== 'root') this.#itemOf(previous, 'previous_item_id')
    if (given.type === 'call-output') this.#checkCall(given.callId, this.#conversation.items)
    const item = await makeItem(given, id, this.#maker)
    this.#addItem(item, previous)
    if (item.type === 'input') this.#transcribe(item, false)
  }

  get #maker(): ItemMaker {
    return { openImage: (source) => this.#openImage(source), inputRate: this.#config.inputRate }
  }

  #checkCall(callId: string, items: readonly Item[]): void {
    const known = items.some((item) => item.type === 'call' && item.callId === callId)
    if (!known) throw new SessionFault(`No call has the id '${callId}'.`, { param: 'item.call_id' })
  }

  #itemOf(id: string, param = 'item_id'): Item {
    const item = this.#conversation.find(id)
    if (item === undefined) throw new SessionFault(`No item has the id '${id}'.`, { code: 'item_not_found', param })
    return item
  }

  #deleteItem(id: string): void {
    this.#release([this.#itemOf(id)])
    this.#conversation.remove(id)
    this.#ports.emit({ type: 'item-deleted', itemId: id })
  }

  #truncateItem(id: string, audioEndMs: number): void {
    const item = this.#itemOf(id)
    if (item.type !== 'reply' || !item.spoken)
      throw new SessionFault('Only a spoken message of the assistant can be truncated.', { param: 'item_id' })
    const playing = this.#playing?.itemId === id ? this.#playing : undefined
    if (playing !== undefined && audioEndMs > playing.playback.sentMs + 1)
      throw new SessionFault(
        `Audio content of ${Math.round(playing.playback.sentMs)}ms is already shorter than ${audioEndMs}ms.`,
        { param: 'audio_end_ms' },
      )
    item.text = playedText(item.text, audioEndMs, playing?.whole === true ? playing.playback.sentMs : undefined)
    if (playing !== undefined) this.#playing = undefined
    this.#ports.emit({ type: 'item-truncated', itemId: id, audioEndMs })
  }

  // ── replies ──────────────────────────────────────────────────────────────────────────────────────────────────

  async #createResponse(overrides: ReplyOverrides, input: readonly ReplyInput[] | undefined): Promise<void> {
    this.#checkIdle()
    if (input === undefined) return this.#startReply(overrides)
    const { conversation, own } = await this.#conversationOf(input)
    try {
      // A reply may have begun while images were opened.
      this.#checkIdle()
      this.#startReply(overrides, conversation)
      void this.#running?.done.then(() => releaseItems(own))
    } catch (error) {
      releaseItems(own)
      throw error
    }
  }

  /** What a reply is given in place of the session's conversation, and the items that are its own. */
  async #conversationOf(input: readonly ReplyInput[]): Promise<{ conversation: Conversation; own: readonly Item[] }> {
    const conversation = new Conversation(Number.POSITIVE_INFINITY)
    const own: Item[] = []
    try {
      for (const given of input) {
        if (given.type === 'reference') {
          conversation.add(this.#itemOf(given.itemId, 'response.input'))
          continue
        }
        if (given.type === 'call-output')
          this.#checkCall(given.callId, [...this.#conversation.items, ...conversation.items])
        const item = await makeItem(given, given.id ?? this.#ports.newId('item'), this.#maker)
        own.push(item)
        conversation.add(item)
      }
    } catch (error) {
      releaseItems(own)
      throw error
    }
    return { conversation, own }
  }

  /** @throws SessionFault while the user speaks or a reply runs */
  #checkIdle(): void {
    if (this.userSpeaking) throw new SessionFault('Cannot create response while user is speaking.')
    const running = this.#running
    if (running !== undefined && !running.reply.ended)
      throw new SessionFault(
        `Conversation already has an active response in progress: ${running.reply.id}. Wait until it is done, or cancel it, before creating another one.`,
        { code: 'conversation_already_has_active_response' },
      )
  }

  #startReply(overrides: ReplyOverrides, conversation = this.#conversation): void {
    const config = configFor(this.#config, overrides)
    const { instructions } = config
    const messages = conversation.messages(instructions, this.#limits)
    if (!messages.some(({ role }) => role === 'user')) {
      if (instructions === '')
        throw new SessionFault('There is nothing to answer: commit audio, or create a message item, first.', {
          param: 'response',
        })
      // A session that begins with the assistant: its instructions say what to say.
      messages.push({ role: 'user', content: [{ type: 'text', text: instructions }] })
    }
    this.#replyOwedTo = undefined
    const abort = new AbortController()
    const outOfBand = overrides.outOfBand === true
    const reply = new ActiveReply({
      id: this.#ports.newId('response'),
      speaks: config.speaks,
      voice: config.voice,
      metadata: overrides.metadata,
      newId: this.#ports.newId,
      emit: this.#ports.emit,
      now: this.#ports.now,
      join: (item) => {
        if (outOfBand) return undefined
        const previous = this.#conversation.lastId
        this.#conversation.add(item)
        if (item.type === 'reply' && item.spoken)
          this.#playing = { itemId: item.id, playback: reply.playback, whole: false }
        return previous
      },
    })
    const running: Running = { reply, abort, source: undefined, done: Promise.resolve() }
    this.#running = running
    this.#transcriptions.pause()
    reply.begin()
    running.done = this.#run(running, { messages, config })
  }

  /** Never rejects. */
  async #run(running: Running, request: Parameters<SessionPorts['reply']>[0]): Promise<void> {
    const { reply, abort } = running
    const signal = AbortSignal.any([abort.signal, this.#closing.signal])
    let events: RunningReply['events'] | undefined
    try {
      const source = await this.#ports.reply(request, signal)
      running.source = source
      events = source.events
      while (!reply.ended) {
        const next = await events.next()
        if (next.done === true) throw new Error('the engine ended without an end event')
        if (reply.ended) break
        if (next.value.type === 'end') {
          const cut = next.value.reason === 'length'
          if (this.#playing?.playback === reply.playback) this.#playing.whole = true
          reply.end(cut ? 'incomplete' : 'completed', source.usage(), cut ? 'max_output_tokens' : undefined)
        } else {
          reply.push(next.value)
          await this.#ports.drained(signal)
        }
      }
    } catch (error) {
      this.#failed(running, error)
    }
    await events?.return?.().catch(() => undefined)
    if (this.#running === running) this.#running = undefined
    if (this.#closing.signal.aborted) return
    const owed = this.#replyOwedTo
    // A client may have deleted the turn meanwhile.
    const isOwed = owed !== undefined && this.#conversation.find(owed) !== undefined
    if (isOwed && !this.replying && !this.userSpeaking) this.#startReply({})
    else this.#transcriptions.work(() => this.replying)
  }

  #failed({ reply, abort, source }: Running, error: unknown): void {
    if (reply.ended || this.#closing.signal.aborted || abort.signal.aborted) return
    const fault = replyFault(error)
    this.#ports.emit({ type: 'fault', eventId: undefined, fault })
    reply.end('failed', source?.usage(), fault.code ?? undefined, fault.message)
    if (!(error instanceof ApiError))
      this.#ports.log(`a reply failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  }

  #cancelAsked(replyId: string | undefined): void {
    const reply = this.#running?.reply
    if (reply === undefined || reply.ended || (replyId !== undefined && replyId !== reply.id))
      throw new SessionFault('Conversation has none active response', { code: 'response_cancel_not_active' })
    this.#interrupt('client_cancelled')
  }

  /** Ends the running reply at once, and keeps in the conversation the played part of the last spoken one. */
  #interrupt(reason: 'turn_detected' | 'client_cancelled'): void {
    const running = this.#running
    const active = running !== undefined && !running.reply.ended
    const usage = running?.source?.usage()
    if (active) {
      running.reply.end('cancelled', usage, reason)
      running.abort.abort(new DOMException('The reply was interrupted.', 'AbortError'))
    }
    const playing = this.#playing
    this.#playing = undefined
    if (playing === undefined) return
    const played = playing.playback.playedMs(this.#ports.now())
    if (playing.whole && played >= playing.playback.sentMs) return
    const item = this.#conversation.find(playing.itemId)
    if (item?.type !== 'reply') return
    item.text = playedText(item.text, played, playing.whole ? playing.playback.sentMs : undefined)
    item.status = 'incomplete'
  }
}

function milliseconds(samples: number): number {
  return Math.round((samples / SAMPLE_RATE) * 1000)
}
