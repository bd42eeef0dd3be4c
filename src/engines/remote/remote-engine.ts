/**
 * A remote peer as an engine: an adapter over the shared HTTP transport.
 *
 * In: requests of the engine contract. Out: its events, without the peer's ids, paths and texts. Prompts are not
 * counted, because no peer supports that without running them.
 */

import { VOICES } from '../../catalogue/index.ts'
import {
  type Engine,
  EngineError,
  type EngineEvent,
  type EngineModel,
  type EngineStatus,
  type EngineVoice,
  type GenerationRequest,
} from '../../contract/index.ts'
import type { Adapter, Ask, DiscoveredFacts, PeerOptions } from './adapter.ts'
import { LinkedAbort } from './linked-abort.ts'
import { RemoteError } from './remote-error.ts'
import { DEFAULT_LIMITS, END_MARK, Transport, type TransportLimits } from './transport.ts'
import { readEvent } from './wire/read-event.ts'
import { ReplyEvents } from './wire/reply-events.ts'

export interface RemoteEngineOptions {
  readonly adapter: Adapter
  /** Name of the served model. */
  readonly id: string
  /** Base URL: the adapter's paths are appended to it. */
  readonly url: string
  readonly peer: PeerOptions
  readonly limits?: Partial<TransportLimits>
}

/** Context length when neither the peer nor the configuration has one. */
const UNKNOWN_CONTEXT = 32_768

export class RemoteEngine implements Engine {
  readonly id: string
  readonly #options: RemoteEngineOptions
  readonly #transport: Transport
  readonly #live = new Set<AbortController>()
  #discovered: DiscoveredFacts = {}
  #model: EngineModel | undefined
  #closed = false

  constructor(options: RemoteEngineOptions) {
    this.#options = options
    this.id = options.id
    this.#transport = new Transport(options.url, options.peer.key, { ...DEFAULT_LIMITS, ...options.limits })
  }

  /** What the peer supports, according to the configuration and the peer's report. */
  get model(): EngineModel {
    this.#model ??= this.#describe()
    return this.#model
  }

  #describe(): EngineModel {
    const { adapter, peer, id } = this.#options
    const discovered = this.#discovered
    const contextLength = peer.contextLength ?? discovered.contextLength ?? UNKNOWN_CONTEXT
    return {
      id,
      architecture: peer.architecture ?? 'unknown',
      input: peer.input ?? discovered.input ?? adapter.input,
      output: peer.output ?? discovered.output ?? adapter.output,
      thinking: peer.thinking ?? discovered.thinking ?? false,
      capabilities: {
        ...adapter.capabilities,
        // With `anyVoice`, every voice name is accepted.
        voiceChoice: adapter.capabilities.voiceChoice || peer.anyVoice === true,
        tools: peer.tools ?? false,
        countsPrompt: false,
      },
      contextLength,
      maxOutputTokens: peer.maxOutputTokens ?? discovered.maxOutputTokens ?? Math.ceil(contextLength / 2),
      voices: this.#voices(),
      weights: 'remote',
      device: adapter.name,
    }
  }

  async models(): Promise<readonly EngineModel[]> {
    return [this.model]
  }

  /** @throws EngineError for an invalid request as `generate` does, and otherwise `unsupported` */
  async countPrompt(request: GenerationRequest, signal?: AbortSignal): Promise<never> {
    signal?.throwIfAborted()
    this.#speakerFor(this.#checked(request))
    throw new EngineError('unsupported', 'The peer does not count prompt tokens.')
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<EngineEvent, void, undefined> {
    signal.throwIfAborted()
    const speaker = this.#speakerFor(this.#checked(request))
    const { adapter, peer } = this.#options
    using abort = new LinkedAbort(signal)
    this.#live.add(abort)
    try {
      const body = await adapter.build(request, peer, speaker, abort.signal)
      const reply = new ReplyEvents(request, {
        tokenPerDelta: adapter.tokenPerDelta,
        promptByModality: adapter.capabilities.promptByModality,
      })
      let answered = false
      let done = false
      let started = false
      let servedBy: { readonly servedBy: string } | undefined
      const batches = this.#transport.stream(
        {
          path: adapter.path,
          body,
          headers: {
            accept: 'text/event-stream',
            ...(request.traceparent !== undefined && { traceparent: request.traceparent }),
            'x-request-id': request.id,
            ...adapter.headers?.(request),
          },
          servedBy: (name) => (servedBy = { servedBy: name }),
          started: () => (adapter.idleFrom === 'byte' ? answered : reply.started),
          toError: (status, text, after) =>
            status < 400 ? (errorIn(adapter, text) ?? notAStream(status, text)) : adapter.mapError(status, text, after),
        },
        abort.signal,
      )
      reading: for await (const batch of batches) {
        for (const event of batch) {
          answered = true
          if (event.data === END_MARK) {
            done = true
            break reading
          }
          for (const output of reply.add(adapter.read(readEvent(event)))) {
            // Until the first token, a failed reply may move to another peer, so a chunk with only a role does not start it.
            if (!started) yield { type: 'start', ...servedBy }
            started = true
            yield output
            abort.signal.throwIfAborted()
          }
          if (reply.limitReached) break reading
        }
      }
      abort.signal.throwIfAborted()
      const end = reply.end(done)
      if (!started) yield { type: 'start', ...servedBy, ...(end.usage.prompt && { prompt: end.usage.prompt }) }
      yield end
    } finally {
      this.#live.delete(abort)
    }
  }

  status(): EngineStatus {
    const reason = this.#closed ? { reason: 'closed' } : {}
    return { ready: !this.#closed, active: this.#live.size, waiting: 0, ...reason }
  }

  /** Whether the peer has a health check. */
  get probes(): boolean {
    return this.#options.adapter.probe !== undefined
  }

  /** Checks the peer's health. @throws RemoteError */
  async probe(signal: AbortSignal): Promise<void> {
    await this.#options.adapter.probe?.(this.#ask(signal))
  }

  /**
   * Requests the peer's facts, and updates `model`. @throws RemoteError when they contradict the configuration
   */
  async discover(signal: AbortSignal): Promise<void> {
    const { adapter, peer } = this.#options
    if (!adapter.discover) return
    this.#discovered = await adapter.discover(this.#ask(signal), peer)
    this.#model = undefined
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const reason = new EngineError('engine_closed', 'The engine was closed.')
    for (const live of this.#live) live.abort(reason)
    await this.#transport.close()
  }

  #ask(signal: AbortSignal): Ask {
    return (method, path, body) => this.#transport.ask(method, path, body, signal)
  }

  #voices(): readonly EngineVoice[] {
    const { adapter, peer } = this.#options
    const model = peer.output ?? this.#discovered.output ?? adapter.output
    if (!model.includes('audio')) return []
    if (this.#discovered.voices) return this.#discovered.voices
    const speakers = peer.speakers ?? this.#discovered.speakers ?? adapter.speakers
    if (speakers === 'anyName') return VOICES.map(({ name }) => ({ name, speaker: name, native: true }))
    return peer.voices(speakers ?? [])
  }

  /** @throws EngineError for another model, for a closed engine, and when `max_tokens` exceeds the context */
  #checked(request: GenerationRequest): GenerationRequest {
    if (this.#closed) throw new EngineError('engine_closed', 'The engine is closed.')
    if (request.model !== this.id)
      throw new EngineError('unknown_model', `No model '${request.model}' here; this engine serves '${this.id}'.`, {
        param: 'model',
      })
    const { contextLength } = this.model
    if (request.maxTokens >= contextLength)
      throw new EngineError(
        'context_overflow',
        `max_tokens fills the whole context of ${contextLength} tokens; lower it.`,
        {
          param: 'max_tokens',
        },
      )
    return request
  }

  #speakerFor(request: GenerationRequest): string | undefined {
    if (!request.speech) return undefined
    const { voices, output } = this.model
    if (!output.includes('audio'))
      throw new EngineError('unsupported', 'It has no speech output.', { param: 'modalities' })
    const wanted = request.speech.voice.toLowerCase()
    const voice = voices.find(({ name }) => name.toLowerCase() === wanted)
    if (voice) return this.#options.adapter.speakers === 'anyName' ? voice.name : voice.speaker
    throw new EngineError(
      'unsupported',
      `It has no voice '${request.speech.voice}'; it has ${voices.map(({ name }) => name).join(', ') || 'none yet'}.`,
      { param: 'audio.voice' },
    )
  }
}

function notAStream(status: number, text: string): RemoteError {
  const cause = new Error(text.slice(0, 200))
  const message = `The peer answered HTTP ${status} without an event stream; check the URL of the replica.`
  return new RemoteError('upstream_failed', message, 'strike', { cause })
}

/** The error in a JSON response that should have been an event stream, read like an event. */
function errorIn(adapter: Adapter, text: string): RemoteError | undefined {
  try {
    const json: unknown = JSON.parse(text)
    if (typeof json !== 'object' || json === null) return undefined
    const event = readEvent({ data: text })
    if (typeof event === 'object' && event !== null && 'error' in event) adapter.read(event)
  } catch (error) {
    if (error instanceof RemoteError) return error
  }
  return undefined
}
