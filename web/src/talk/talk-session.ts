/**
 * A spoken conversation with the server: microphone in, speech out, captions and turns on the way.
 *
 * In: the server and the settings. Out: {@link TalkState} through `subscribe`, whole turns through `onTurn`. Nothing
 * here throws: failures end the conversation with a problem that the page describes in its own text. Reference:
 * docs/realtime.md, DashScope's dialect, whose images go with the turn that is being spoken.
 */
import { RecorderError } from '../audio/recorder.ts'
import { player } from '../audio/speech-player.ts'
import { joinPcm } from '../../../src/arithmetic/pcm.ts'
import { PcmDecoder } from '../audio/wav.ts'
import { Microphone, TALK_RATE } from './microphone.ts'
import { TalkCamera } from './talk-camera.ts'
import { NEW_TALK, reduceTalk, type ServerEvent, type TalkProblem, type TalkState } from './talk-state.ts'

const PATH = '/api-ws/v1/realtime'
/** Milliseconds until a server that does not answer counts as unreachable. */
const PATIENCE = 15_000
/** Seconds of audio kept before a turn is known to have begun. */
const KEPT_SECONDS = 10
/** Characters waiting to be sent, some 15 s of audio, with which the connection counts as lost. */
const MOST_UNSENT = 650_000
/** A microphone this quiet for this many pieces of 100 ms is muted or broken. */
const SILENT = { level: 0.0004, pieces: 80 }

export interface TalkOptions {
  model: string
  apiKey: string
  /** The `session` of the first `session.update`. */
  session: Record<string, unknown>
  /** Earlier turns, so that the conversation continues. */
  history: readonly { role: 'user' | 'assistant'; text: string }[]
  /** Called when a reply was played or interrupted, with both sides' text. */
  onTurn: (turn: TalkTurn) => void
}

export interface TalkTurn {
  /** 16 kHz mono. */
  userAudio: Int16Array
  userText: Promise<string>
  text: string
  /** 24 kHz mono, as far as it was made. */
  pcm: Int16Array
  interrupted: boolean
}

interface UserTurnAudio {
  id: string
  from: number
  samples: Int16Array
  text: Promise<string>
}

interface ReplyAudio {
  id: string
  decoder: PcmDecoder
  pieces: Int16Array[]
  /** Of its message in the server's conversation. */
  itemId: string | undefined
  /** The turn it answers. */
  user: UserTurnAudio | undefined
  /** All of it has come. */
  made: boolean
  /** It was given to `onTurn`. */
  over: boolean
}

export class TalkSession {
  readonly #options: TalkOptions
  readonly #listeners = new Set<() => void>()
  #state: TalkState = NEW_TALK
  #socket: WebSocket | undefined
  #microphone: Microphone | undefined
  #camera: TalkCamera | undefined
  /** Counts what was asked of the camera: only the newest counts. */
  #cameraAsked = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Audio sent, from sample `#sentFrom` of the session on. */
  #sent: Int16Array[] = []
  #sentFrom = 0
  #sentSamples = 0
  #quietPieces = 0
  #user: UserTurnAudio | undefined
  readonly #transcripts = new Map<string, (text: string) => void>()
  #reply: ReplyAudio | undefined
  /** The server has said that the session is over its time. */
  #expired = false
  readonly #unsubscribe: () => void

  constructor(options: TalkOptions) {
    this.#options = options
    this.#unsubscribe = player.subscribe(() => {
      const playing = player.state.id !== undefined && player.state.id === this.#reply?.id
      if (this.#state.phase !== 'live') return
      this.#apply({ type: 'playing', playing })
      if (!playing && this.#reply?.made === true) this.#finish()
    })
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  readonly getState = (): TalkState => this.#state

  get cameraStream(): MediaStream | undefined {
    return this.#camera?.stream
  }

  /** Of both sides, 0 to 1. */
  levels(): { you: number; model: number } {
    return { you: this.#state.muted ? 0 : (this.#microphone?.level ?? 0), model: player.level() }
  }

  /** Call in a click handler, so that the browser lets audio play. */
  async start(): Promise<void> {
    player.stop()
    player.unlock()
    try {
      this.#microphone = await Microphone.open(
        (samples) => this.#sendAudio(samples),
        () => this.#end({ key: 'unplugged', message: '' }),
      )
    } catch (error) {
      const key = error instanceof RecorderError ? error.reason : 'failed'
      this.#end({ key, message: error instanceof Error ? error.message : String(error) })
      return
    }
    if (this.#state.phase === 'ended') this.#microphone[Symbol.dispose]()
    else this.#connect()
  }

  end(): void {
    this.#end(undefined)
  }

  setMuted(muted: boolean): void {
    if (this.#microphone !== undefined) this.#microphone.muted = muted
    this.#quietPieces = 0
    this.#apply({ type: 'muted', muted })
  }

  /** Stops the reply without speaking. */
  interrupt(): void {
    this.#apply({ type: 'interrupted' })
    const reply = this.#reply
    if (reply?.made === false) this.#send({ type: 'response.cancel' })
    // The server has sent all of it and cannot know that it is not played.
    else if (reply?.itemId !== undefined && player.state.id === reply.id)
      this.#send({
        type: 'conversation.item.truncate',
        item_id: reply.itemId,
        content_index: 0,
        audio_end_ms: Math.floor(player.position() * 1000),
      })
    player.stop()
  }

  /** `onEnd`: the camera was removed. Rejects with a {@link RecorderError}. */
  async setCamera(on: boolean, onEnd: () => void = () => {}): Promise<void> {
    const asked = ++this.#cameraAsked
    this.#closeCamera()
    if (!on) return this.#changed()
    const camera = await TalkCamera.open(
      (image) => {
        // Images belong to audio, so they wait for the first piece.
        if (this.#state.phase === 'live' && this.#sentSamples > 0)
          this.#send({ type: 'input_image_buffer.append', image })
      },
      () => {
        this.#closeCamera()
        this.#changed()
        onEnd()
      },
    )
    if (this.#state.phase === 'ended' || asked !== this.#cameraAsked) return camera[Symbol.dispose]()
    this.#camera = camera
    return this.#changed()
  }

  #closeCamera(): void {
    this.#camera?.[Symbol.dispose]()
    this.#camera = undefined
  }

  // ── the socket ───────────────────────────────────────────────────────────────────────────────────────────────

  #connect(): void {
    // Not before: a question for permission may be open for long.
    this.#timer = setTimeout(() => this.#end({ key: 'timeout', message: '' }), PATIENCE)
    const { model, apiKey } = this.#options
    const url = `${location.origin.replace(/^http/, 'ws')}${PATH}?model=${encodeURIComponent(model)}`
    let opened = false
    let socket: WebSocket
    try {
      // A browser cannot set headers here, so the key goes among the subprotocols.
      socket = new WebSocket(url, apiKey === '' ? [] : ['realtime', `openai-insecure-api-key.${apiKey}`])
    } catch {
      this.#end({ key: 'refused', message: '' })
      return
    }
    this.#socket = socket
    socket.addEventListener('open', () => {
      opened = true
      this.#send({ type: 'session.update', session: this.#options.session })
      for (const { role, text } of this.#options.history) {
        const part = role === 'user' ? { type: 'input_text', text } : { type: 'text', text }
        this.#send({ type: 'conversation.item.create', item: { type: 'message', role, content: [part] } })
      }
    })
    socket.addEventListener('message', ({ data }) => {
      if (typeof data === 'string') this.#receive(JSON.parse(data) as ServerEvent)
    })
    socket.addEventListener('close', ({ code, reason }) => {
      if (this.#state.phase === 'ended') return
      if (opened) this.#end(this.#problemOfClose(code, reason))
      else void this.#whyRefused().then((problem) => this.#end(problem))
    })
  }

  #problemOfClose(code: number, reason: string): TalkProblem {
    const said = this.#state.problem
    if (code === 1001) return { key: this.#expired ? 'limit' : 'stopping', message: '' }
    if (reason !== '') return { key: 'serverSaid', message: reason }
    return said ?? { key: 'lost', message: '' }
  }

  /** Browsers do not say why a handshake failed; the same request over HTTP does. */
  async #whyRefused(): Promise<TalkProblem> {
    const { model, apiKey } = this.#options
    try {
      const response = await fetch(`${PATH}?model=${encodeURIComponent(model)}`, {
        headers: apiKey === '' ? {} : { authorization: `Bearer ${apiKey}` },
      })
      if (response.status === 401) return { key: 'refused', message: '' }
      const body = (await response.json().catch(() => ({}))) as { error?: { code?: string; message?: string } }
      if (response.status === 404 && body.error?.code !== 'model_not_found') return { key: 'unsupported', message: '' }
      if (response.status !== 426 && body.error?.message) return { key: 'serverSaid', message: body.error.message }
    } catch {
      // Not reachable at all.
    }
    return { key: 'lost', message: '' }
  }

  #send(event: Record<string, unknown>): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(event))
  }

  #receive(event: ServerEvent): void {
    const before = this.#state.phase
    switch (event.type) {
      case 'session.updated':
        if (before === 'connecting') clearTimeout(this.#timer)
        break
      case 'input_audio_buffer.speech_started':
        // First the state, which knows then that the reply was interrupted and did not end.
        this.#apply(event)
        player.stop()
        this.#user = this.#newTurn(event.item_id, event.audio_start_ms)
        return
      case 'input_audio_buffer.speech_stopped':
        if (this.#user?.id === event.item_id)
          this.#user.samples = this.#audioBetween(this.#user.from, samplesAt(event.audio_end_ms))
        break
      case 'conversation.item.input_audio_transcription.completed':
        this.#transcripts.get(event.item_id)?.(event.transcript.trim())
        break
      case 'conversation.item.input_audio_transcription.failed':
        this.#transcripts.get(event.item_id)?.('')
        break
      case 'response.created':
        this.#finish()
        this.#reply = {
          id: event.response.id,
          decoder: new PcmDecoder(),
          pieces: [],
          itemId: undefined,
          user: this.#user,
          made: false,
          over: false,
        }
        break
      case 'response.audio.delta':
        if (this.#reply?.id === event.response_id) this.#reply.itemId = event.item_id
        this.#play(event.response_id, event.delta)
        break
      case 'error':
        if (event.error.code === 'session_expired') this.#expired = true
        break
      case 'response.audio.done':
        player.end(event.response_id)
        break
      case 'response.done':
        this.#apply(event)
        if (this.#reply?.id !== event.response.id) return
        this.#reply.made = true
        if (player.state.id !== event.response.id) this.#finish()
        return
      default:
    }
    this.#apply(event)
  }

  #play(id: string, base64: string): void {
    const reply = this.#reply
    // The rest of an interrupted reply is not played.
    if (reply?.id !== id || this.#state.userSpeaks) return
    const samples = reply.decoder.decode(base64)
    if (samples.length === 0) return
    if (reply.pieces.length === 0) player.begin(id)
    reply.pieces.push(samples)
    player.push(id, samples)
  }

  /** The reply was made, and played or interrupted. */
  #finish(): void {
    const reply = this.#reply
    if (reply === undefined || reply.over) return
    reply.over = true
    const caption = this.#state.captions.find((item) => item.id === reply.id)
    const { user } = reply
    if (caption === undefined || (caption.text === '' && reply.pieces.length === 0)) return
    this.#options.onTurn({
      userAudio: user?.samples ?? new Int16Array(),
      userText: user?.text ?? Promise.resolve(''),
      text: caption.text,
      pcm: joinPcm(reply.pieces),
      interrupted: caption.interrupted,
    })
  }

  // ── the microphone ───────────────────────────────────────────────────────────────────────────────────────────

  #sendAudio(samples: Int16Array): void {
    if (this.#state.phase !== 'live') return
    // A network that is gone closes nothing for minutes.
    if ((this.#socket?.bufferedAmount ?? 0) > MOST_UNSENT) return this.#end({ key: 'lost', message: '' })
    const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength)
    let text = ''
    for (const byte of bytes) text += String.fromCharCode(byte)
    this.#send({ type: 'input_audio_buffer.append', audio: btoa(text) })
    this.#sent.push(samples)
    this.#sentSamples += samples.length
    if (!this.#state.userSpeaks) {
      while (this.#sentSamples - this.#sentFrom > KEPT_SECONDS * TALK_RATE)
        this.#sentFrom += this.#sent.shift()?.length ?? 0
    }
    // A noise gate may make pauses silent, so only a microphone without any speech so far is checked.
    const noSpeech = this.#user === undefined && !this.#state.muted
    const quiet = noSpeech && (this.#microphone?.level ?? 0) < SILENT.level
    this.#quietPieces = quiet ? this.#quietPieces + 1 : 0
    if (this.#quietPieces === SILENT.pieces) this.#apply({ type: 'problem', problem: { key: 'quiet', message: '' } })
    else if (!quiet && this.#state.problem?.key === 'quiet') this.#apply({ type: 'problem', problem: undefined })
  }

  #newTurn(id: string, startMs: number): UserTurnAudio {
    const text = new Promise<string>((resolve) => this.#transcripts.set(id, resolve))
    return { id, from: samplesAt(startMs), samples: new Int16Array(), text }
  }

  #audioBetween(from: number, to: number): Int16Array {
    return joinPcm(this.#sent).slice(Math.max(0, from - this.#sentFrom), Math.max(0, to - this.#sentFrom))
  }

  // ── state ────────────────────────────────────────────────────────────────────────────────────────────────────

  #apply(event: Parameters<typeof reduceTalk>[1]): void {
    const next = reduceTalk(this.#state, event)
    if (next === this.#state) return
    this.#state = next
    this.#changed()
  }

  #changed(): void {
    // A new object, because the camera is not part of the state.
    this.#state = { ...this.#state }
    for (const listener of this.#listeners) listener()
  }

  #end(problem: TalkProblem | undefined): void {
    if (this.#state.phase === 'ended') return
    clearTimeout(this.#timer)
    this.#apply({ type: 'ended', problem })
    this.#finish()
    for (const transcribed of this.#transcripts.values()) transcribed('')
    player.stop()
    this.#microphone?.[Symbol.dispose]()
    this.#closeCamera()
    this.#socket?.close(1000)
    this.#unsubscribe()
    this.#changed()
  }
}

function samplesAt(milliseconds: number): number {
  return Math.round((milliseconds / 1000) * TALK_RATE)
}
