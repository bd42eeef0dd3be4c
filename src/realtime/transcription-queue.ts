/**
 * Transcripts of the user's turns, made by the loaded model itself while no reply is being made, so that they cost
 * replies nothing: one that is being made when a reply begins is given up, and made again after it.
 */
import { ApiError } from '../protocol/index.ts'
import type { SessionConfig } from './config.ts'
import type { InputPart } from './conversation.ts'
import type { SessionPorts } from './ports.ts'
import { TRANSCRIBE_PROMPT, transcriptionPrompt } from './transcription-prompt.ts'

type AudioPart = Extract<InputPart, { readonly type: 'audio' }>

interface Wanted {
  readonly itemId: string
  readonly part: AudioPart
  /** The client is sent it. */
  readonly shown: boolean
}

export class TranscriptionQueue {
  readonly #ports: SessionPorts
  readonly #config: () => SessionConfig
  readonly #signal: AbortSignal
  readonly #waiting: Wanted[] = []
  #working: Promise<void> | undefined
  #pause = new AbortController()

  constructor(ports: SessionPorts, config: () => SessionConfig, signal: AbortSignal) {
    this.#ports = ports
    this.#config = config
    this.#signal = signal
  }

  add(wanted: Wanted): void {
    this.#waiting.push(wanted)
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    return this.#working ?? Promise.resolve()
  }

  /** Processes the queue while `busy` is false. */
  work(busy: () => boolean): void {
    this.#working ??= this.#work(busy).finally(() => (this.#working = undefined))
  }

  /** A reply begins: gives up the transcript being made, for now. */
  pause(): void {
    this.#pause.abort(new DOMException('A reply goes first.', 'AbortError'))
    this.#pause = new AbortController()
  }

  async #work(busy: () => boolean): Promise<void> {
    while (this.#waiting.length > 0 && !busy() && !this.#signal.aborted) {
      const wanted = this.#waiting.shift()!
      const pause = this.#pause.signal
      try {
        await this.#make(wanted, AbortSignal.any([this.#signal, pause]))
      } catch (error) {
        if (this.#signal.aborted) return
        if (pause.aborted) this.#waiting.unshift(wanted)
        else this.#failed(wanted, error)
      }
    }
  }

  async #make({ itemId, part, shown }: Wanted, signal: AbortSignal): Promise<void> {
    const text = transcriptionPrompt(TRANSCRIBE_PROMPT, this.#config().transcription)
    const content = [{ type: 'audio', audio: part.audio } as const, { type: 'text', text } as const]
    const config: SessionConfig = {
      ...this.#config(),
      speaks: false,
      instructions: '',
      tools: [],
      maxTokens: undefined,
    }
    const transcript = await this.#ports.transcribe({ messages: [{ role: 'user', content }], config }, signal)
    part.transcript = transcript
    if (shown) this.#ports.emit({ type: 'transcription-completed', itemId, transcript })
  }

  #failed({ itemId, shown }: Wanted, error: unknown): void {
    const message = error instanceof ApiError ? error.message : 'The audio could not be transcribed.'
    if (shown) this.#ports.emit({ type: 'transcription-failed', itemId, message })
    else this.#ports.log(`a turn stays a recording in the history: ${message}`)
  }
}
