/**
 * An adapter for one kind of peer: converts between the engine contract and the peer's HTTP API, and checks its health.
 *
 * Each adapter has its own folder. Transport, limits, aborts and reply events are shared (`remote-engine.ts`).
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
  /** Name of the model at the peer. */
  readonly model: string
  /** The peer's API key. It is not the caller's. */
  readonly key?: string
  /** `architectures[0]` of the checkpoint, which no peer reports. */
  readonly architecture?: string
  /** Tokens. Default: the peer's value, or 32,768. */
  readonly contextLength?: number
  /** Default: half of the context length. */
  readonly maxOutputTokens?: number
  readonly input?: readonly InputModality[]
  readonly output?: readonly OutputModality[]
  /** The peer was started with a reasoning parser. */
  readonly thinking?: boolean
  /** The peer was started with a tool parser. */
  readonly tools?: boolean
  /** Speakers in lower case, for a peer that does not list them. */
  readonly speakers?: readonly string[]
  /** Accepts any voice name for a peer with a single speaker. */
  readonly anyVoice?: boolean
  /** Sampling of the talker (vllm-omni), in the peer's format. Must contain its end tokens. */
  readonly talker?: Readonly<Record<string, unknown>>
  /** Maps API voices to speakers. */
  readonly voices: VoiceMapping
}

/** Facts that a peer reports about itself. */
export interface DiscoveredFacts {
  readonly contextLength?: number
  /** Lower case. */
  readonly speakers?: readonly string[]
  readonly maxOutputTokens?: number
  readonly input?: readonly InputModality[]
  readonly output?: readonly OutputModality[]
  readonly thinking?: boolean
  /** API voices with their speakers, from peers with this server's API. */
  readonly voices?: readonly EngineVoice[]
}

/** Sends a small request to the peer. Rejects with a {@link RemoteError} when it cannot be reached. */
export type Ask = (method: 'GET' | 'POST', path: string, body?: unknown) => Promise<HttpAnswer>

export interface Adapter {
  readonly name: AdapterName
  readonly capabilities: Omit<EngineCapabilities, 'tools' | 'countsPrompt'>
  readonly input: readonly InputModality[]
  readonly output: readonly OutputModality[]
  /**
   * Speakers when neither the peer nor the configuration lists them. `anyName`: every API voice under its own name.
   */
  readonly speakers?: readonly string[] | 'anyName'
  /** Path of chat completions, relative to the replica's URL. */
  readonly path: string
  /**
   * When the idle limit starts: at the first byte, or at the first token for peers that answer before prefill.
   */
  readonly idleFrom: 'byte' | 'token'
  /** Whether each text delta is one token. */
  readonly tokenPerDelta: boolean
  /** Extra headers. */
  headers?(request: GenerationRequest): Record<string, string>
  /**
   * Builds the body of a request, including its media.
   * @param speaker of the reply, if speech is requested
   * @throws EngineError `unsupported` for fields that the peer does not support
   */
  build(
    request: GenerationRequest,
    options: PeerOptions,
    speaker: string | undefined,
    signal: AbortSignal,
  ): Promise<Record<string, unknown>>
  /** Reads the delta of one event. @throws RemoteError for an error event, and for invalid JSON */
  read(json: unknown): ReplyDelta
  /** Converts an error response. `status`: the HTTP status, or the status in an error event. */
  mapError(status: number, body: string, retryAfterMs?: number): RemoteError
  /** A cheap health check: resolves when healthy, rejects otherwise. Absent: only requests show the peer's health. */
  probe?(ask: Ask): Promise<void>
  /**
   * Requests the peer's facts. Repeated after each outage, because the peer may then serve another model.
   * @throws RemoteError when they are invalid
   */
  discover?(ask: Ask, options: PeerOptions): Promise<DiscoveredFacts>
}
