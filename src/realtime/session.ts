/**
 * One realtime session: its state, and the effects of a client's commands.
 *
 * In: commands of either dialect, in sequence. Out: session events, in the order of the realtime guide. The clock, ids,
 * voice activity detection and replies are passed in as {@link SessionPorts}. One reply runs at a time.
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
import type { ClientItem, ReplyInput, SessionCommand } from './events.ts'
import { replyFault, SessionFault } from './fault.ts'
import { type ItemMaker, makeItem } from './client-items.ts'
import { type Playback, playedText } from './playback.ts'
import type { RunningReply, SessionLimits, SessionPorts, SpeechStream } from './ports.ts'
import { createResampler, type Resampler } from './resample.ts'
import { TrailingSilence } from './trailing-silence.ts'
import { audioPlaceholder, TurnAudio, TurnSender } from './turn-audio.ts'
import { TranscriptionQueue } from './transcription-queue.ts'
import { TurnDetector } from './voice-activity/turn-detector.ts'
import { WINDOW_SAMPLES } from './voice-activity/silero.ts'

/** Windows processed before yielding to the event loop: half a second of audio. */
const WINDOWS_PER_SLICE = 16

/** Delay before a turn is transcribed: a reply that is requested in this time runs first. */
const TRANSCRIBE_AFTER_MS = 400

interface Running {
  readonly reply: ActiveReply
  readonly abort: AbortController
  /** Resolves once the engine has ended the request. */
  done: Promise<void>
  source: RunningReply | undefined
}

/** The message that the client may still be playing. */
interface Playing {
  readonly itemId: string
  readonly playback: Playback
  /** All of its audio has been sent. */
  complete: boolean
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
  /** The last turn or the current one has images, which precede the audio in the prompt. */
  #hasImages = false
  #resampler: Resampler
  #speech: SpeechStream | undefined
  #detector: TurnDetector | undefined
  readonly #silence = new TrailingSilence()
  /** Start of the next window, samples since the start of the session. */
  #windowAt = 0
  #turnId: string | undefined
  #running: Running | undefined
  #playing: Playing | undefined
  /** A turn that ended during a reply it may not interrupt: its own reply follows. */
  #deferredReplyTurn: string | undefined
  #receivedAudio = false

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

  /** Sends the first event. */
  open(): void {
    this.#ports.emit({ type: 'session-created', config: this.#config })
    const { historyAudio, spokenTurns, turns } = this.#limits
    if (historyAudio === 'transcript')
      this.#ports.log(
        "the prompt contains transcripts of earlier spoken turns, because of the checkpoint's history_audio setting",
      )
    if (spokenTurns < turns)
      this.#ports.log(
        `the prompt contains at most ${spokenTurns} turns of a spoken conversation, because of max_spoken_history_turns`,
      )
  }

  /**
   * Executes a command. Rejects with a {@link SessionFault} when the command is not possible in the current state. Call
   * it again only after it has settled.
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
        return this.#commitBuffer()
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
        return this.#cancelResponse(command.replyId)
      case 'finish':
        await this.settled()
        // The client still gets the transcripts of its turns.
        this.#transcriptions.process(() => false)
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

  /** Resolves once no reply runs. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running.done
  }

  /** Ends the session. Resolves once the engine has ended all of its requests. */
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
      if (this.#receivedAudio)
        throw new SessionFault('The input audio format cannot be changed after audio has been appended.', {
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
    this.#receivedAudio = true
    this.#buffer.push(this.#resampler.push(samples))
    if (this.#detector === undefined) {
      const seconds = this.#buffer.length / SAMPLE_RATE
      if (seconds <= this.#limits.turnSeconds) {
        this.#turnSender.send(this.#buffer.end)
        return
      }
      this.#buffer.dropBefore(this.#buffer.end)
      this.#turnSender[Symbol.dispose]()
      throw new SessionFault(
        `The input audio buffer was cleared: a turn is limited to ${this.#limits.turnSeconds} seconds. Commit sooner.`,
        { code: 'input_audio_buffer_too_long' },
      )
    }
    let windows = 0
    while (this.#detector !== undefined && this.#windowAt + WINDOW_SAMPLES <= this.#buffer.end) {
      this.#processWindow(this.#detector)
      windows += 1
      if (windows % WINDOWS_PER_SLICE === 0) await this.#ports.yieldToEventLoop()
      if (this.#closing.signal.aborted) return
    }
    if (this.#detector !== undefined && this.userSpeaking) this.#sendTurn(this.#detector)
  }

  /** Sends the new audio of the turn or, during a pause, its possible end. */
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
    const parts: InputPart[] = [{ type: 'audio', audio: audioPlaceholder(), transcript: undefined }]
    const next: InputItem = { id: '', type: 'input', role: 'user', parts }
    const config = this.#config
    const messages = this.#conversation.messages(config.instructions, this.#limits, next)
    // The text of a running reply and images that will precede the audio are not known yet.
    const prefills = !this.replying && !this.#hasImages
    return new TurnAudio(openAudio({ messages, config }, { prefills }, this.#closing.signal))
  }

  #processWindow(detector: TurnDetector): void {
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
    if (this.replying) this.#deferredReplyTurn = itemId
    else this.#startReply({})
  }

  #commitBuffer(): void {
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

  /** Queues the transcription of an item's audio, for the client or for the history. */
  #transcribe({ id, parts }: InputItem, sendToClient: boolean): void {
    if (!sendToClient && this.#limits.historyAudio === 'audio') return
    for (const part of parts) if (part.type === 'audio') this.#transcriptions.add({ itemId: id, part, sendToClient })
    // A reply has priority over a transcript.
    this.#ports.later(TRANSCRIBE_AFTER_MS, () => this.#transcriptions.process(() => this.replying))
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
    if (!this.#receivedAudio)
      throw new SessionFault('Append audio before the first image: an image belongs to the audio of its turn.', {
        param: 'image',
      })
    const image = await this.#openImage(source)
    // For video from a camera, the newest images of a turn are the relevant ones.
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
    const removed = this.#conversation.add(item, previous)
    this.#release(removed)
    if (removed.length > 0)
      this.#ports.log(`the oldest turn was removed: this model supports ${this.#limits.turns} turns`)
    this.#ports.emit({ type: 'item-created', item, previousItemId: this.#conversation.before(item.id) })
  }

  /** Releases the media of removed items, once the running reply no longer needs them. */
  #release(items: readonly Item[]): void {
    if (this.#running === undefined) releaseItems(items)
    else void this.#running.done.then(() => releaseItems(items))
  }

  async #createItem(given: ClientItem, previous: string | undefined): Promise<void> {
    const id = given.id ?? this.#ports.newId('item')
    if (this.#conversation.find(id) !== undefined)
      throw new SessionFault(`An item with id '${id}' already exists.`, { param: 'item.id' })
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
    item.text = playedText(item.text, audioEndMs, playing?.complete === true ? playing.playback.sentMs : undefined)
    if (playing !== undefined) this.#playing = undefined
    this.#ports.emit({ type: 'item-truncated', itemId: id, audioEndMs })
  }

  // ── replies ──────────────────────────────────────────────────────────────────────────────────────────────────

  async #createResponse(overrides: ReplyOverrides, input: readonly ReplyInput[] | undefined): Promise<void> {
    this.#checkIdle()
    if (input === undefined) return this.#startReply(overrides)
    const { conversation, own } = await this.#conversationOf(input)
    try {
      // A reply may have started while images were opened.
      this.#checkIdle()
      this.#startReply(overrides, conversation)
      void this.#running?.done.then(() => releaseItems(own))
    } catch (error) {
      releaseItems(own)
      throw error
    }
  }

  /** The conversation of a reply with its own input, and the items created for it. */
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
      // Without a user turn, the assistant speaks first: its instructions serve as the prompt.
      messages.push({ role: 'user', content: [{ type: 'text', text: instructions }] })
    }
    this.#deferredReplyTurn = undefined
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
      addToConversation: (item) => {
        if (outOfBand) return undefined
        const previous = this.#conversation.lastId
        this.#conversation.add(item)
        if (item.type === 'reply' && item.spoken)
          this.#playing = { itemId: item.id, playback: reply.playback, complete: false }
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
          if (this.#playing?.playback === reply.playback) this.#playing.complete = true
          reply.end(cut ? 'incomplete' : 'completed', source.usage(), cut ? 'max_output_tokens' : undefined)
        } else {
          reply.push(next.value)
          await this.#ports.drained(signal)
        }
      }
    } catch (error) {
      this.#fail(running, error)
    }
    await events?.return?.().catch(() => undefined)
    if (this.#running === running) this.#running = undefined
    if (this.#closing.signal.aborted) return
    const deferred = this.#deferredReplyTurn
    // A client may have deleted the turn meanwhile.
    const isDue = deferred !== undefined && this.#conversation.find(deferred) !== undefined
    if (isDue && !this.replying && !this.userSpeaking) this.#startReply({})
    else this.#transcriptions.process(() => this.replying)
  }

  #fail({ reply, abort, source }: Running, error: unknown): void {
    if (reply.ended || this.#closing.signal.aborted || abort.signal.aborted) return
    const fault = replyFault(error)
    this.#ports.emit({ type: 'fault', eventId: undefined, fault })
    reply.end('failed', source?.usage(), fault.code ?? undefined, fault.message)
    if (!(error instanceof ApiError))
      this.#ports.log(`a reply failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  }

  #cancelResponse(replyId: string | undefined): void {
    const reply = this.#running?.reply
    if (reply === undefined || reply.ended || (replyId !== undefined && replyId !== reply.id))
      throw new SessionFault('Conversation has none active response', { code: 'response_cancel_not_active' })
    this.#interrupt('client_cancelled')
  }

  /** Ends the running reply at once. The conversation retains the played part of the last spoken reply. */
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
    if (playing.complete && played >= playing.playback.sentMs) return
    const item = this.#conversation.find(playing.itemId)
    if (item?.type !== 'reply') return
    item.text = playedText(item.text, played, playing.complete ? playing.playback.sentMs : undefined)
    item.status = 'incomplete'
  }
}

function milliseconds(samples: number): number {
  return Math.round((samples / SAMPLE_RATE) * 1000)
}
