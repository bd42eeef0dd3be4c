/**
 * The engine that runs a checkpoint on this machine, in a separate process.
 *
 * In: {@link LocalEngineOptions}. Out: an `Engine`. A failed assertion in the numeric library ends only the engine
 * process: running requests fail with `engine_crashed`, and the process is restarted.
 *
 * Reference: docs/architecture.md.
 */

import type { RequestMetrics } from '../../runtime/request-metrics.ts'
import {
  type AnyMedium,
  type ArrivingAudio,
  EngineError,
  type Engine,
  type EngineEvent,
  type EngineModel,
  type EngineStatus,
  type GenerationRequest,
  type PromptUsage,
} from '../../contract/index.ts'
import { type Deferred, deferred } from './deferred.ts'
import { fromErrorMessage } from './error-messages.ts'
import type { EngineProcess } from './engine-process.ts'
import { Exchange, fullCredit } from './exchange.ts'
import type { FromProcess, LoadedModel, LoadOptions, PackedRequest, ProcessStatus } from './messages.ts'
import { detachArrays, packMessages, slices } from './request-packing.ts'
import { Supervisor } from './supervisor.ts'
import { findSpeaker, nativeVoices, type VoiceMapping } from './voices.ts'

export { type RequestMetrics, stages } from '../../runtime/request-metrics.ts'

export interface LocalEngineOptions extends Omit<LoadOptions, 'id'> {
  /** Name of the served model. Default: the name of the checkpoint's folder. */
  readonly id?: string
  /** Voices offered. Default: the checkpoint's speakers, and the first of them for any other name. */
  readonly voices?: VoiceMapping
  /** Called with the metrics of each request at its end. */
  readonly onMetrics?: (metrics: RequestMetrics) => void
  /** Called with log lines: the process's output, crashes, restarts. */
  readonly onLog?: (line: string) => void
  /** Time without a message after which the process counts as hung, milliseconds. */
  readonly hangMilliseconds?: number
  /** First and longest delay before a restart, milliseconds. */
  readonly restartPause?: readonly [first: number, longest: number]
  /** How long a request waits for a restart, milliseconds. Default 30 s. */
  readonly restartWait?: number
  /** Cancels loading. */
  readonly signal?: AbortSignal
  /** Module of the process. Tests provide their own. */
  readonly processEntry?: URL
}

/** A local engine, with the state of its process. */
export interface LocalEngine extends Engine {
  /** Id of the running engine process. */
  readonly processId: number | undefined
  /** Number of restarts. */
  readonly restarts: number
  /** How the weights are placed in memory, once they are loaded. */
  readonly placement: LoadedModel['placement']
  /** Requests the status of the process. Throws `engine_crashed` when there is none. */
  inspect(): Promise<ProcessStatus>
}

const closeGrace = 5000
const defaultRestartWait = 30_000

/**
 * Starts the engine process and loads the checkpoint.
 * @throws EngineError `bad_checkpoint` when it cannot be loaded, with the reason; the signal's reason when it fires.
 */
export async function createLocalEngine(options: LocalEngineOptions): Promise<LocalEngine> {
  const engine = new ProcessEngine(options)
  await engine.start(options.signal)
  return engine
}

class ProcessEngine implements LocalEngine {
  readonly id: string
  readonly #options: LocalEngineOptions
  readonly #supervisor: Supervisor
  readonly #exchanges = new Map<number, Exchange>()
  /** Exchanges of opened audio. */
  readonly #arriving = new Map<number, Exchange>()
  readonly #counts = new Map<number, Deferred<PromptUsage>>()
  readonly #inspections = new Set<Deferred<ProcessStatus>>()
  #loaded: LoadedModel | undefined
  #model: EngineModel | undefined
  #nextNumber = 1
  #closed: Promise<void> | undefined

  constructor(options: LocalEngineOptions) {
    this.#options = options
    this.id = options.id ?? options.checkpoint.replace(/[\\/]+$/, '').replace(/^.*[\\/]/, '')
    const [firstPause, longestPause] = options.restartPause ?? [500, 30_000]
    this.#supervisor = new Supervisor({
      load: loadOptions(this.id, options),
      entry: options.processEntry ?? defaultEntry(),
      hangMilliseconds: options.hangMilliseconds ?? 60_000,
      firstPause,
      longestPause,
      onMessage: (message) => this.#receive(message),
      onCrash: (description) => this.#crashed(description),
      onLog: (line) => options.onLog?.(line),
    })
  }

  get processId(): number | undefined {
    return this.#supervisor.process?.pid
  }

  get restarts(): number {
    return this.#supervisor.restarts
  }

  get placement(): LoadedModel['placement'] {
    return this.#loaded?.placement
  }

  async start(signal?: AbortSignal): Promise<void> {
    const loaded = await this.#supervisor.start(signal)
    this.#loaded = loaded
    const voices = (this.#options.voices ?? nativeVoices)(loaded.speakers)
    this.#model = { ...loaded.model, voices }
  }

  async models(): Promise<readonly EngineModel[]> {
    return this.#model ? [this.#model] : []
  }

  async countPrompt(request: GenerationRequest, signal?: AbortSignal): Promise<PromptUsage> {
    signal?.throwIfAborted()
    const process = await this.#ready(request, signal)
    const speaker = this.#speakerFor(request)
    const number = this.#nextNumber++
    const outcome = deferred<PromptUsage>()
    outcome.promise.catch(() => undefined)
    this.#counts.set(number, outcome)
    const onAbort = (): void => {
      void process.send({ type: 'abort', exchange: number })
      outcome.reject(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      // Counting needs only the facts of media, which are in the packed request.
      void process.send({ type: 'count', exchange: number, request: packRequest(request, speaker).packed })
      return await outcome.promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#counts.delete(number)
    }
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<EngineEvent, void, undefined> {
    signal.throwIfAborted()
    const process = await this.#ready(request, signal)
    const speaker = this.#speakerFor(request)
    const number = this.#nextNumber++
    const exchange = new Exchange(number, (events) => void process.send({ type: 'credit', exchange: number, events }))
    this.#exchanges.set(number, exchange)
    const onAbort = (): void => void process.send({ type: 'abort', exchange: number })
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      const { packed, media } = packRequest(request, speaker)
      exchange.onMediumRequest = (index) => void this.#deliver(process, exchange, index, media[index], signal)
      void process.send({ type: 'generate', exchange: number, request: packed, credit: fullCredit })
      for (;;) {
        const event = await exchange.next(signal)
        if (event === undefined) return
        yield event
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      if (!exchange.over && !process.ended) {
        void process.send({ type: 'abort', exchange: number })
        await exchange.finished
      }
      this.#exchanges.delete(number)
    }
  }

  openAudio(request: GenerationRequest, { prefills }: { readonly prefills: boolean }): ArrivingAudio | undefined {
    const process = this.#supervisor.process
    if (!process || this.#closed || request.model !== this.id) return undefined
    const number = this.#nextNumber++
    const { packed, media } = packRequest(request, this.#speakerFor(request))
    const exchange = new Exchange(number, () => undefined)
    const abort = new AbortController()
    exchange.onMediumRequest = (index) => void this.#deliver(process, exchange, index, media[index], abort.signal)
    this.#arriving.set(number, exchange)
    void process.send({ type: 'audio-open', exchange: number, request: packed, prefills })
    return {
      append: (samples) => void process.send({ type: 'audio-append', exchange: number, samples }),
      mayEnd: (silence, contentKey) =>
        void process.send({ type: 'audio-may-end', exchange: number, silence, contentKey }),
      complete: (contentKey) => void process.send({ type: 'audio-complete', exchange: number, contentKey }),
      [Symbol.dispose]: () => {
        if (!this.#arriving.delete(number)) return
        exchange.close()
        abort.abort(new DOMException('The audio is no longer needed.', 'AbortError'))
        void process.send({ type: 'audio-drop', exchange: number })
      },
    }
  }

  status(): EngineStatus {
    const reason = this.#closed ? 'closed' : this.#supervisor.reason
    const live = this.#exchanges.size
    const waiting = Math.min(live, this.#supervisor.process?.status?.waiting ?? 0)
    return {
      ready: reason === undefined && this.#model !== undefined,
      active: live - waiting,
      waiting,
      ...(reason !== undefined && { reason }),
    }
  }

  async inspect(): Promise<ProcessStatus> {
    const process = this.#supervisor.process
    if (!process) throw this.#absent()
    const outcome = deferred<ProcessStatus>()
    outcome.promise.catch(() => undefined)
    this.#inspections.add(outcome)
    void process.send({ type: 'status' })
    return outcome.promise
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#endAll(new EngineError('engine_closed', 'The engine was closed.'))
    await this.#supervisor.close(closeGrace)
  }

  #receive(message: FromProcess): void {
    switch (message.type) {
      case 'event':
        this.#exchanges.get(message.exchange)?.push(message.event)
        break
      case 'done':
        this.#exchanges.get(message.exchange)?.close()
        break
      case 'error': {
        const error = fromErrorMessage(message.error)
        this.#exchanges.get(message.exchange)?.close(error)
        this.#counts.get(message.exchange)?.reject(error)
        break
      }
      case 'medium-request':
        ;(this.#exchanges.get(message.exchange) ?? this.#arriving.get(message.exchange))?.onMediumRequest?.(
          message.index,
        )
        break
      case 'counted':
        this.#counts.get(message.exchange)?.resolve(message.usage)
        break
      case 'metrics':
        this.#options.onMetrics?.(message.metrics)
        break
      case 'status':
        for (const outcome of this.#inspections) outcome.resolve(message.status)
        this.#inspections.clear()
        break
      case 'loaded':
      case 'failed':
        break
      default:
        message satisfies never
    }
  }

  #crashed(description: string): void {
    this.#options.onLog?.(`The engine process ${description}. It is being restarted.`)
    this.#endAll(
      new EngineError('engine_crashed', `The engine process ${description}. It is being restarted; try again.`),
    )
  }

  #endAll(error: EngineError): void {
    for (const exchange of this.#exchanges.values()) exchange.close(error)
    for (const outcome of [...this.#counts.values(), ...this.#inspections]) outcome.reject(error)
    this.#inspections.clear()
  }

  /**
   * Waits for the process while it restarts. Throws for another model, for a closed engine, and when no process is
   * available in time.
   */
  async #ready(request: GenerationRequest, signal: AbortSignal | undefined): Promise<EngineProcess> {
    if (this.#closed) throw new EngineError('engine_closed', 'The engine is closed.')
    if (request.model !== this.id)
      throw new EngineError('unknown_model', `No model '${request.model}' here; this engine serves '${this.id}'.`, {
        param: 'model',
      })
    const process = await this.#supervisor.available(this.#options.restartWait ?? defaultRestartWait, signal)
    if (!process) throw this.#absent()
    return process
  }

  #absent(): EngineError {
    if (this.#closed) return new EngineError('engine_closed', 'The engine is closed.')
    return new EngineError('engine_crashed', `No engine process: ${this.#supervisor.reason ?? 'it ended'}; try again.`)
  }

  #speakerFor(request: GenerationRequest): string | undefined {
    if (!request.speech) return undefined
    const { voices } = this.#model!
    return findSpeaker(request.speech.voice, voices, this.#loaded!.speakers, this.#options.voices !== undefined)
  }

  /**
   * Decodes a medium and sends it in slices, with a turn of the event loop between them. An invalid file ends the
   * request.
   */
  async #deliver(
    process: EngineProcess,
    exchange: Exchange,
    index: number,
    medium: AnyMedium | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { number } = exchange
    try {
      if (!medium) throw new Error(`The engine process requested medium ${index}, which the request does not have.`)
      const { value, arrays } = detachArrays(await medium.decode(signal))
      if (exchange.over) return
      // Sent before the bytes, so that they are received into their final memory.
      void process.send({ type: 'medium', exchange: number, index, content: value })
      for (const slice of slices(arrays)) {
        if (exchange.over) return
        await process.send({ type: 'slice', exchange: number, index, bytes: slice })
        await new Promise<void>((resolve) => void setImmediate(resolve))
      }
    } catch (error) {
      exchange.fail(error)
      void process.send({ type: 'abort', exchange: number })
    } finally {
      medium?.release()
    }
  }
}

function packRequest(
  request: GenerationRequest,
  speaker: string | undefined,
): { packed: PackedRequest; media: readonly AnyMedium[] } {
  const { messages, speech: _speech, ...rest } = request
  const packed = packMessages(messages)
  return {
    packed: { request: rest, messages: packed.messages, ...(speaker !== undefined && { speaker }) },
    media: packed.media,
  }
}

/** The options for the process: all except those that only the server uses. */
function loadOptions(id: string, options: LocalEngineOptions): LoadOptions {
  const load: Record<string, unknown> = { ...options }
  for (const own of serverOnlyOptions) delete load[own]
  return { checkpoint: options.checkpoint, ...load, id }
}

const serverOnlyOptions = [
  'voices',
  'onMetrics',
  'onLog',
  'hangMilliseconds',
  'restartPause',
  'restartWait',
  'signal',
  'processEntry',
] as const satisfies readonly Exclude<keyof LocalEngineOptions, keyof LoadOptions>[]

/** The module of the process: TypeScript in the sources, JavaScript in `dist`. */
function defaultEntry(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? './process-main.ts' : './process-main.js', import.meta.url)
}
