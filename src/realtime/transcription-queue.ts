/**
 * Transcribes the user's turns with the loaded model, while no reply runs, so that replies are not delayed. A reply
 * cancels the running transcription, which starts again after it.
 */
import { ApiError } from '../protocol/index.ts'
import type { SessionConfig } from './config.ts'
import type { InputPart } from './conversation.ts'
import type { SessionPorts } from './ports.ts'
import { TRANSCRIBE_PROMPT, transcriptionPrompt } from './transcription-prompt.ts'

type AudioPart = Extract<InputPart, { readonly type: 'audio' }>

interface TranscriptionJob {
  readonly itemId: string
  readonly part: AudioPart
  /** Whether the client gets the transcript. */
  readonly sendToClient: boolean
}

export class TranscriptionQueue {
  readonly #ports: SessionPorts
  readonly #config: () => SessionConfig
  readonly #signal: AbortSignal
  readonly #waiting: TranscriptionJob[] = []
  #processing: Promise<void> | undefined
  #pause = new AbortController()

  constructor(ports: SessionPorts, config: () => SessionConfig, signal: AbortSignal) {
    this.#ports = ports
    this.#config = config
    this.#signal = signal
  }

  add(job: TranscriptionJob): void {
    this.#waiting.push(job)
  }

  /** Resolves once no transcription runs. */
  idle(): Promise<void> {
    return this.#processing ?? Promise.resolve()
  }

  /** Processes the queue while `busy` is false. */
  process(busy: () => boolean): void {
    this.#processing ??= this.#processAll(busy).finally(() => (this.#processing = undefined))
  }

  /** Cancels the running transcription, because a reply starts. It stays in the queue. */
  pause(): void {
    this.#pause.abort(new DOMException('A reply has priority.', 'AbortError'))
    this.#pause = new AbortController()
  }

  async #processAll(busy: () => boolean): Promise<void> {
    while (this.#waiting.length > 0 && !busy() && !this.#signal.aborted) {
      const job = this.#waiting.shift()!
      const pause = this.#pause.signal
      try {
        await this.#transcribe(job, AbortSignal.any([this.#signal, pause]))
      } catch (error) {
        if (this.#signal.aborted) return
        if (pause.aborted) this.#waiting.unshift(job)
        else this.#failed(job, error)
      }
    }
  }

  async #transcribe({ itemId, part, sendToClient }: TranscriptionJob, signal: AbortSignal): Promise<void> {
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
    if (sendToClient) this.#ports.emit({ type: 'transcription-completed', itemId, transcript })
  }

  #failed({ itemId, sendToClient }: TranscriptionJob, error: unknown): void {
    const message = error instanceof ApiError ? error.message : 'The audio could not be transcribed.'
    if (sendToClient) this.#ports.emit({ type: 'transcription-failed', itemId, message })
    else this.#ports.log(`a spoken turn stays in the history as audio, because its transcription failed: ${message}`)
  }
}
