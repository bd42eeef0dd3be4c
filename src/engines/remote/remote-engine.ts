/**
 * One peer as an engine: an adapter's functions over the shared transport, with the peer's own facts.
 *
 * In: the contract's requests. Out: its events; nothing of the peer's ids, paths or texts. It does not count prompts:
 * no peer does without running them.
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
import type { Adapter, Ask, Learned, PeerOptions } from './adapter.ts'
import { LinkedAbort } from './linked-abort.ts'
import { RemoteError } from './remote-error.ts'
import { DEFAULT_LIMITS, END_MARK, Transport, type TransportLimits } from './transport.ts'
import { readEvent } from './wire/read-event.ts'
import { ReplyEvents } from './wire/reply-events.ts'

export interface RemoteEngineOptions {
  readonly adapter: Adapter
  /** Name it is served under here. */
  readonly id: string
  /** With the path that the adapter's paths are below. */
  readonly url: string
  readonly peer: PeerOptions
  readonly limits?: Partial<TransportLimits>
}

/** Tokens of an unknown context. */
const UNKNOWN_CONTEXT = 32_768

export class RemoteEngine implements Engine {
  readonly id: string
  readonly #options: RemoteEngineOptions
  readonly #transport: Transport
  readonly #live = new Set<AbortController>()
  #learned: Learned = {}
  #model: EngineModel | undefined
  #closed = false

  constructor(options: RemoteEngineOptions) {
    this.#options = options
    this.id = options.id
    this.#transport = new Transport(options.url, options.peer.key, { ...DEFAULT_LIMITS, ...options.limits })
  }

  /** What the peer supports, as far as it reports or the configuration says. */
  get model(): EngineModel {
    this.#model ??= this.#describe()
    return this.#model
  }

  #describe(): EngineModel {
    const { adapter, peer, id } = this.#options
    const learned = this.#learned
    const contextLength = peer.contextLength ?? learned.contextLength ?? UNKNOWN_CONTEXT
    return {
      id,
      architecture: peer.architecture ?? 'unknown',
      input: peer.input ?? learned.input ?? adapter.input,
      output: peer.output ?? learned.output ?? adapter.output,
      thinking: peer.thinking ?? learned.thinking ?? false,
      capabilities: {
        ...adapter.capabilities,
        // Where the configuration lets one speaker stand for all, every choice is accepted.
        voiceChoice: adapter.capabilities.voiceChoice || peer.anyVoice === true,
        tools: peer.tools ?? false,
        countsPrompt: false,
      },
      contextLength,
      maxOutputTokens: peer.maxOutputTokens ?? learned.maxOutputTokens ?? Math.ceil(contextLength / 2),
      voices: this.#voices(),
      weights: 'remote',
      device: adapter.name,
    }
  }

  async models(): Promise<readonly EngineModel[]> {
    return [this.model]
  }

  /** @throws EngineError as `generate` would where that needs no peer, else `unsupported` */
  async countPrompt(request: GenerationRequest, signal?: AbortSignal): Promise<never> {
    signal?.throwIfAborted()
    this.#speakerFor(this.#checked(request))
    throw new EngineError('unsupported', 'Prompts are not counted by the peer.')
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<EngineEvent, void, undefined> {
    signal.throwIfAborted()
    const speaker = this.#speakerFor(this.#checked(request))
    const { adapter, peer } = this.#options
    using own = new LinkedAbort(signal)
    this.#live.add(own)
    try {
      const body = await adapter.build(request, peer, speaker, own.signal)
      const reply = new ReplyEvents(request, {
        tokenPerDelta: adapter.tokenPerDelta,
        promptByModality: adapter.capabilities.promptByModality,
      })
      let answered = false
      let done = false
      let started = false
      let servedBy: { readonly servedBy: string } | undefined
      const reads = this.#transport.stream(
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
          begun: () => (adapter.idleFrom === 'byte' ? answered : reply.began),
          refused: (status, text, after) =>
            status < 400 ? (errorIn(adapter, text) ?? notAStream(status, text)) : adapter.mapError(status, text, after),
        },
        own.signal,
      )
      reading: for await (const read of reads) {
        for (const event of read) {
          answered = true
          if (event.data === END_MARK) {
            done = true
            break reading
          }
          for (const made of reply.add(adapter.read(readEvent(event)))) {
            // A role without a token is no beginning: a reply that fails until then may move to another peer.
            if (!started) yield { type: 'start', ...servedBy }
            started = true
            yield made
            own.signal.throwIfAborted()
          }
          if (reply.over) break reading
        }
      }
      own.signal.throwIfAborted()
      const end = reply.end(done)
      if (!started) yield { type: 'start', ...servedBy, ...(end.usage.prompt && { prompt: end.usage.prompt }) }
      yield end
    } finally {
      this.#live.delete(own)
    }
  }

  status(): EngineStatus {
    const reason = this.#closed ? { reason: 'closed' } : {}
    return { ready: !this.#closed, active: this.#live.size, waiting: 0, ...reason }
  }

  /** Whether health can be checked without a request. */
  get probes(): boolean {
    return this.#options.adapter.probe !== undefined
  }

  /** Checks the peer's health. @throws RemoteError */
  async probe(signal: AbortSignal): Promise<void> {
    await this.#options.adapter.probe?.(this.#ask(signal))
  }

  /**
   * Asks the peer for its facts; afterwards `model` has them. @throws RemoteError when they contradict the
   * configuration
   */
  async learn(signal: AbortSignal): Promise<void> {
    const { adapter, peer } = this.#options
    if (!adapter.learn) return
    this.#learned = await adapter.learn(this.#ask(signal), peer)
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
    const model = peer.output ?? this.#learned.output ?? adapter.output
    if (!model.includes('audio')) return []
    if (this.#learned.voices) return this.#learned.voices
    const speakers = peer.speakers ?? this.#learned.speakers ?? adapter.speakers
    if (speakers === 'anyName') return VOICES.map(({ name }) => ({ name, speaker: name, native: true }))
    return peer.voices(speakers ?? [])
  }

  /** @throws EngineError for another model, a closed engine, and what cannot fit */
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
        `max_tokens takes the whole context of ${contextLength} tokens; lower it.`,
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
  const message = `The peer answered HTTP ${status} without a stream of events; is the URL of the replica right?`
  return new RemoteError('upstream_failed', message, 'strike', { cause })
}

/** The error in an answer that should have been a stream, as an event of one would have been read. */
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
