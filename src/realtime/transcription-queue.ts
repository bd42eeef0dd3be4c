/** Transcripts of the user's turns, made by the loaded model itself while no reply is being made, so that they cost replies nothing. */
import { ApiError } from '../protocol/index.ts'
import type { SessionConfig } from './config.ts'
import type { InputPart } from './conversation.ts'
import type { SessionPorts } from './ports.ts'

type AudioPart = Extract<InputPart, { readonly type: 'audio' }>

/** What the model is asked. Documented in docs/realtime.md. */
export const TRANSCRIBE_PROMPT = 'Transcribe the audio.'

export class TranscriptionQueue {
  readonly #ports: SessionPorts
  readonly #config: () => SessionConfig
  readonly #signal: AbortSignal
  readonly #waiting: { readonly itemId: string; readonly part: AudioPart }[] = []
  #working: Promise<void> | undefined

  constructor(ports: SessionPorts, config: () => SessionConfig, signal: AbortSignal) {
    this.#ports = ports
    this.#config = config
    this.#signal = signal
  }

  add(itemId: string, part: AudioPart): void {
    this.#waiting.push({ itemId, part })
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    return this.#working ?? Promise.resolve()
  }

  /** Processes the queue while `busy` is false. */
  work(busy: () => boolean): void {
    this.#working ??= this.#work(busy).finally(() => (this.#working = undefined))
  }

  async #work(busy: () => boolean): Promise<void> {
    while (this.#waiting.length > 0 && !busy() && !this.#signal.aborted) {
      const { itemId, part } = this.#waiting.shift()!
      try {
        const content = [
          { type: 'audio', audio: part.audio } as const,
          { type: 'text', text: TRANSCRIBE_PROMPT } as const,
        ]
        const config: SessionConfig = {
          ...this.#config(),
          speaks: false,
          instructions: '',
          tools: [],
          maxTokens: undefined,
        }
        const transcript = await this.#ports.transcribe({ messages: [{ role: 'user', content }], config }, this.#signal)
        part.transcript = transcript
        this.#ports.emit({ type: 'transcription-completed', itemId, transcript })
      } catch (error) {
        if (this.#signal.aborted) return
        const message = error instanceof ApiError ? error.message : 'The audio could not be transcribed.'
        this.#ports.emit({ type: 'transcription-failed', itemId, message })
      }
    }
  }
}
