/**
 * What an adapter of a peer is made of: pure functions between the engine contract and the peer's wire, and a probe.
 *
 * Each folder beside this file is one. The transport, limits, aborts and events of a reply are shared (`remote-engine.ts`).
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

/** What the configuration says of a pool's peers. */
export interface PeerOptions {
  /** Name the peer serves the model under. */
  readonly model: string
  /** The peer's API key. Never the caller's. */
  readonly key?: string
  /** `architectures[0]`, which no peer tells. */
  readonly architecture?: string
  /** Tokens. Default: what the peer tells, else 32,768. */
  readonly contextLength?: number
  /** Default: the context's half. */
  readonly maxOutputTokens?: number
  readonly input?: readonly InputModality[]
  readonly output?: readonly OutputModality[]
  /** The peer was started with a reasoning parser. */
  readonly thinking?: boolean
  /** The peer was started with a tool parser. */
  readonly tools?: boolean
  /** Speakers, lower case, where the peer does not tell them. */
  readonly speakers?: readonly string[]
  /** Any voice asked for is spoken by the peer's one speaker, where it has no choice. */
  readonly anyVoice?: boolean
  /** Sampling of the talker (vllm-omni), in the peer's words. Must hold its end tokens. */
  readonly talker?: Readonly<Record<string, unknown>>
  /** Which speaker speaks for an API voice. */
  readonly voices: VoiceMapping
}

/** What a peer has told of itself. */
export interface Learned {
  readonly contextLength?: number
  /** Lower case. */
  readonly speakers?: readonly string[]
  readonly maxOutputTokens?: number
  readonly input?: readonly InputModality[]
  readonly output?: readonly OutputModality[]
  readonly thinking?: boolean
  /** API voices with their speakers, from peers that speak our wire. */
  readonly voices?: readonly EngineVoice[]
}

/** Asks the peer. Rejects with a {@link RemoteError} when it cannot be reached. */
export type Ask = (method: 'GET' | 'POST', path: string, body?: unknown) => Promise<HttpAnswer>

export interface Adapter {
  readonly name: AdapterName
  readonly capabilities: Omit<EngineCapabilities, 'tools' | 'countsPrompt'>
  readonly input: readonly InputModality[]
  readonly output: readonly OutputModality[]
  /** Speakers where neither the peer nor the configuration tells; `anyName`: every API voice under its own name. */
  readonly speakers?: readonly string[] | 'anyName'
  /** Path of chat completions below the replica's URL. */
  readonly path: string
  /** From when silence counts as death: the first byte, or the first token where a reply may begin before its prefill. */
  readonly idleFrom: 'byte' | 'token'
  /** Whether a delta of text is one token. */
  readonly tokenPerDelta: boolean
  /** Extra headers. */
  headers?(request: GenerationRequest): Record<string, string>
  /**
   * The body for a request. Reads its media.
   * @param speaker who speaks, when speech is asked for.
   * @throws EngineError `unsupported` for what the peer cannot do.
   */
  build(
    request: GenerationRequest,
    options: PeerOptions,
    speaker: string | undefined,
    signal: AbortSignal,
  ): Promise<Record<string, unknown>>
  /** What one event's JSON says. @throws RemoteError for an error event, and for what does not fit the wire. */
  read(json: unknown): ReplyDelta
  /** An answer that is no reply: an HTTP status, or the status an error event names. */
  mapError(status: number, body: string, retryAfterMs?: number): RemoteError
  /** Cheap look at the peer's health. Absent: only what happens to requests tells. Resolves when healthy, rejects when not. */
  probe?(ask: Ask): Promise<void>
  /** What the peer tells of itself; after each return, for it may serve another model. @throws RemoteError when it does not fit. */
  learn?(ask: Ask, options: PeerOptions): Promise<Learned>
}
