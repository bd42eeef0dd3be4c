/** What a session needs of the server around it. The API server provides it; tests give their own. */
import type { ArrivingAudio, EngineEvent, GenerationMessage } from '../contract/index.ts'
import type { Usage } from '../protocol/index.ts'
import type { SessionConfig } from './config.ts'
import type { HistoryLimits, SessionImage } from './conversation.ts'
import type { SessionEvent } from './events.ts'

export interface ReplyRequest {
  readonly messages: readonly GenerationMessage[]
  readonly config: SessionConfig
}

export interface RunningReply {
  readonly events: AsyncIterator<EngineEvent>
  /** As billed, of what has been generated so far. */
  usage(): Usage
}

/** Probability of speech in windows of 16 kHz audio. */
export interface SpeechStream {
  push(samples: Float32Array): number
}

export interface SessionPorts {
  /** Milliseconds. */
  readonly now: () => number
  readonly newId: (kind: 'session' | 'conversation' | 'item' | 'response' | 'call') => string
  readonly emit: (event: SessionEvent) => void
  /** Starts a reply. Rejects with an `ApiError`, or the signal's reason once aborted. */
  readonly reply: (request: ReplyRequest, signal: AbortSignal) => Promise<RunningReply>
  /**
   * Opens the audio of the turn that is beginning, for the reply that `request` asks for: its last message has the
   * audio to come. `prefills`: nothing will come between its messages and that. Resolves with nothing where no engine
   * takes audio while it arrives.
   */
  readonly openAudio?: (
    request: ReplyRequest,
    options: { readonly prefills: boolean },
    signal: AbortSignal,
  ) => Promise<ArrivingAudio | undefined>
  /** The words of one recording. */
  readonly transcribe: (request: ReplyRequest, signal: AbortSignal) => Promise<string>
  /** Opens an image given as a data URI. Rejects with an `ApiError`. */
  readonly openImage: (source: string, signal: AbortSignal) => Promise<SessionImage>
  readonly speechStream: () => SpeechStream
  /** Resolves when the client keeps up with the sent events. */
  readonly drained: (signal: AbortSignal) => Promise<void>
  /** Runs a function after so many milliseconds, unless the session is over by then. */
  readonly later: (milliseconds: number, work: () => void) => void
  /** Yields to the event loop during long work. */
  readonly breathe: () => Promise<void>
  readonly close: (code: number, reason: string) => void
  readonly log: (text: string) => void
}

export interface SessionLimits extends HistoryLimits {
  /** The newest user turns that are kept. */
  readonly turns: number
  /** Longest audio of one turn, seconds. */
  readonly turnSeconds: number
  /** Images of one turn. */
  readonly turnImages: number
}
