/** The functions that a session needs from its server. Tests provide their own. */
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
  /** Billed usage of the tokens generated so far. */
  usage(): Usage
}

/** A voice activity detector: maps windows of 16 kHz audio to the probability of speech. */
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
   * Opens the audio of a turn that has started, for the reply that `request` describes: its last message has a
   * placeholder for the audio. `prefills`: no message will be inserted before the audio. Resolves with undefined when
   * the engine does not support audio that is still arriving.
   */
  readonly openAudio?: (
    request: ReplyRequest,
    options: { readonly prefills: boolean },
    signal: AbortSignal,
  ) => Promise<ArrivingAudio | undefined>
  /** Returns the transcript of one recording. Rejects as `reply` does. */
  readonly transcribe: (request: ReplyRequest, signal: AbortSignal) => Promise<string>
  /** Opens an image given as a data URI. Rejects with an `ApiError`. */
  readonly openImage: (source: string, signal: AbortSignal) => Promise<SessionImage>
  readonly speechStream: () => SpeechStream
  /** Resolves once the client has read enough of the sent events. */
  readonly drained: (signal: AbortSignal) => Promise<void>
  /** Runs a function after a delay in milliseconds, unless the session has ended by then. */
  readonly later: (milliseconds: number, work: () => void) => void
  /** Yields to the event loop during long work. */
  readonly yieldToEventLoop: () => Promise<void>
  readonly close: (code: number, reason: string) => void
  readonly log: (text: string) => void
}

export interface SessionLimits extends HistoryLimits {
  /** Most user turns of the conversation. */
  readonly turns: number
  /** Longest audio of one turn, seconds. */
  readonly turnSeconds: number
  /** Most images of one turn. */
  readonly turnImages: number
}
