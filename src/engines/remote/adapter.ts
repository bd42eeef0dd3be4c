/**
 * An adapter of a peer: pure functions between the engine contract and the peer's wire, and a probe.
 *
 * Each folder next to this file is one. The transport, limits, aborts and events of a reply are shared
 * (`remote-engine.ts`).
 */

import type {
  EngineCapabilities,
  EngineVoice,
  GenerationRequest,
  InputModality,
  OutputModality,
} from '../../contract/index.ts'
import type { VoiceMapping } from '../local/voices.ts'
import type { ReplyDelta } from './wire/delta.ts'
import type { RemoteError } from './remote-error.ts'
import type { HttpAnswer } from './transport.ts'

export type AdapterName = 'vllm-omni' | 'vllm' | 'sglang-omni' | 'dashscope' | 'omniserve'

/** The configuration of a pool's peers. */
export interface PeerOptions {
  /** Name the peer serves the model under. */
  readonly model: string
  /** The peer's API key. Never the caller's. */
  readonly key?: string
  /** `architectures[0]`, which no peer reports. */
  readonly architecture?: string
  /** Tokens. Default: the peer's value, else 32,768. */
  readonly contextLength?: number
  /** Default: half of the context. */
  readonly maxOutputTokens?: number
  readonly input?: readonly InputModality[]
  readonly output?: readonly OutputModality[]
  /** The peer was started with a reasoning parser. */
  readonly thinking?: boolean
  /** The peer was started with a tool parser. */
  readonly tools?: boolean
  /** Speakers, lower case, where the peer does not list them. */
  readonly speakers?: readonly string[]
  /** Any requested voice uses the peer's one speaker, where it has no choice. */
  readonly anyVoice?: boolean
  /** Sampling of the talker (vllm-omni), in the peer's format. Must hold its end tokens. */
  readonly talker?: Readonly<Record<string, unknown>>
  /** The speaker for an API voice. */
  readonly voices: VoiceMapping
}

/** What a peer has reported of itself. */
export interface Learned {
  readonly contextLength?: number
  /** Lower case. */
  readonly speakers?: readonly string[]
  readonly maxOutputTokens?: number
  readonly input?: readonly InputModality[]
  readonly output?: readonly OutputModality[]
  readonly thinking?: boolean
  /** API voices with their speakers, from peers that speak this server's wire. */
  readonly voices?: readonly EngineVoice[]
}

/** Asks the peer. Rejects with a {@link RemoteError} when it cannot be reached. */
export type Ask = (method: 'GET' | 'POST', path: string, body?: unknown) => Promise<HttpAnswer>

export interface Adapter {
  readonly name: AdapterName
  readonly capabilities: Omit<EngineCapabilities, 'tools' | 'countsPrompt'>
  readonly input: readonly InputModality[]
  readonly output: readonly OutputModality[]
  /**
   * Speakers where neither the peer nor the configuration lists them; `anyName`: every API voice under its own name.
   */
  readonly speakers?: readonly string[] | 'anyName'
  /** Path of chat completions below the replica's URL. */
  readonly path: string
  /**
   * From when silence counts as failure: the first byte, or the first token where a reply may begin before its prefill.
   */
  readonly idleFrom: 'byte' | 'token'
  /** Whether a delta of text is one token. */
  readonly tokenPerDelta: boolean
  /** Extra headers. */
  headers?(request: GenerationRequest): Record<string, string>
  /**
   * The body for a request. Reads its media.
   * @param speaker of the reply, when speech is requested.
   * @throws EngineError `unsupported` for what the peer does not support.
   */
  build(
    request: GenerationRequest,
    options: PeerOptions,
    speaker: string | undefined,
    signal: AbortSignal,
  ): Promise<Record<string, unknown>>
  /** The delta in one event's JSON. @throws RemoteError for an error event, and for what does not fit the wire. */
  read(json: unknown): ReplyDelta
  /** An answer that is no reply: an HTTP status, or the status in an error event. */
  mapError(status: number, body: string, retryAfterMs?: number): RemoteError
  /** A cheap check of the peer's health. Absent: only requests show it. Resolves when healthy, rejects when not. */
  probe?(ask: Ask): Promise<void>
  /**
   * The peer's own facts; asked again after each outage, because it may serve another model. @throws RemoteError when
   * invalid
   */
  learn?(ask: Ask, options: PeerOptions): Promise<Learned>
}
