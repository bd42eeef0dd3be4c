/**
 * One live request: where it stands, what it holds, and what happens when it gets its next token.
 *
 * In: tokens from the thinker step, audio from its speech. Out: events in its queue. It owns its caches and gives them back when
 * its text ends, its speech ends, or it is dropped.
 */

import type { EngineEvent, EngineUsage, GenerationRequest, ReplyCounts } from '../contract/index.ts'
import type { StageSequence } from '../models/stages.ts'
import type { PreparedPrompt } from '../prompt/prepared-prompt.ts'
import { EventQueue } from './event-queue.ts'
import { type RequestMetrics, type Clock, Stopwatch } from './metrics.ts'
import type { EncoderJob } from './encoder-job.ts'
import type { EncodedFeature, PromptFeatures } from './prompt-features.ts'
import type { ReplyReader, ReplyStep } from './reply-reader.ts'
import type { Sampler } from '../sampling/sampler.ts'
import type { SpeechTask } from './speech-task.ts'

/** What a request holds once it has been given a place. */
export interface TaskResources {
  readonly sequence: StageSequence
  readonly sampler: Sampler
  readonly reader: ReplyReader
  readonly speech: SpeechTask | undefined
  /** Ids that end the reply. */
  readonly endTokenIds: ReadonlySet<number>
  /** Most tokens generated in all, markers included: what the cache was made for. */
  readonly tokenLimit: number
  /** Most reasoning tokens; at that many, `closing` is forced. */
  readonly reasoningBudget: number
  /** Ids that end the reasoning. */
  readonly closing: readonly number[]
}

export type TaskPhase =
  /** In the queue, not looked at yet. */
  | 'waiting'
  /** Its prompt is being made. */
  | 'preparing'
  /** Waits for room for its caches. */
  | 'prepared'
  | 'encoding'
  | 'prefill'
  | 'decode'
  /** The text is complete; speech may go on. */
  | 'told'
  | 'over'

export class RequestTask {
  readonly request: GenerationRequest
  readonly queue: EventQueue
  readonly stopwatch: Stopwatch
  phase: TaskPhase = 'waiting'
  prompt: PreparedPrompt | undefined
  readonly encoded: EncodedFeature[] = []
  /** The medium being encoded, while one is, and the turns its media have had. */
  encoding: EncoderJob | undefined
  encoderTurns = 0
  features: PromptFeatures | undefined
  /** Prompt tokens already in the cache. */
  processed = 0
  /** Thinker tokens generated, the end token included. */
  generated = 0
  /** The token to run next. */
  lastId = -1
  #resources: TaskResources | undefined
  #forced: number[] = []
  #reason: 'stop' | 'length' = 'stop'
  readonly #controller = new AbortController()
  readonly #onSettled: (metrics: RequestMetrics) => void
  readonly #onToken: ((id: number) => void) | undefined
  readonly #sampleRate: number
  #settle: () => void = () => undefined
  /** Resolves once the task is over and holds nothing. */
  readonly settled: Promise<void>

  constructor(
    request: GenerationRequest,
    options: {
      readonly bufferedEvents: number
      readonly clock: Clock
      readonly sampleRate: number
      readonly onDrain: () => void
      readonly onToken?: (id: number) => void
      readonly onSettled: (metrics: RequestMetrics) => void
    },
  ) {
    this.request = request
    this.queue = new EventQueue(options.bufferedEvents, options.onDrain)
    this.stopwatch = new Stopwatch(options.clock)
    this.#onSettled = options.onSettled
    this.#onToken = options.onToken
    this.#sampleRate = options.sampleRate
    this.settled = new Promise((resolve) => (this.#settle = resolve))
  }

  /** Fires when the request is given up; stage calls made for it alone stop. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get gone(): boolean {
    return this.#controller.signal.aborted || this.phase === 'over'
  }

  /** Whether the loop may work for it: wanted, and its reader keeps up. */
  get runnable(): boolean {
    return !this.gone && !this.queue.full
  }

  get resources(): TaskResources {
    if (!this.#resources) throw new Error('The request has no place yet.')
    return this.#resources
  }

  get speech(): SpeechTask | undefined {
    return this.#resources?.speech
  }

  get holdsMemory(): boolean {
    return this.#resources !== undefined
  }

  /** Gives up; the loop drops the task before its next step. */
  abort(reason: unknown): void {
    this.#controller.abort(reason)
  }

  /** Gives it its caches and tells its reader that it runs. */
  begin(prompt: PreparedPrompt, resources: TaskResources): void {
    this.#resources = resources
    this.stopwatch.admitted()
    this.phase = prompt.features.length > 0 ? 'encoding' : 'prefill'
    this.emit({ type: 'start', prompt: prompt.usage })
    if (resources.reader.reasoning && resources.reasoningBudget <= 0) this.#forced = [...resources.closing]
  }

  emit(event: EngineEvent): void {
    if (!this.gone) this.queue.push(event)
  }

  emitAudio(pcm: Int16Array): void {
    this.stopwatch.audio(pcm.length)
    this.emit({ type: 'audio-delta', pcm, counts: this.#counts })
  }

  /** Takes the next token: a forced one, or one sampled from `logits` (which it overwrites). */
  takeLogits(logits: Float32Array): void {
    const { sampler, reader, endTokenIds, tokenLimit, reasoningBudget, closing } = this.resources
    const forced = this.#forced.shift()
    if (forced !== undefined) sampler.observe(forced)
    const id = forced ?? sampler(logits)
    this.generated += 1
    this.stopwatch.token()
    this.#onToken?.(id)
    if (endTokenIds.has(id)) return this.#tell('stop', reader.finish())
    const { maxTokens } = this.request
    // The token that a limit cuts the reply at never becomes an input, so transformers never speaks it.
    const cut = this.generated >= tokenLimit || (!reader.reasoning && reader.textTokens + 1 >= maxTokens)
    const step = reader.push(id, { speak: !cut })
    if (step.stopped) return this.#tell('stop', step)
    this.#send(step)
    if (this.generated >= tokenLimit || reader.textTokens >= maxTokens) return this.#tell('length', reader.finish())
    this.lastId = id
    this.phase = 'decode'
    const spent = reader.reasoning && reader.reasoningTokens >= reasoningBudget
    if (spent && this.#forced.length === 0) this.#forced = [...closing]
  }

  /** Sends `end` once text and speech are complete, and lets go of everything. */
  endIfDone(): boolean {
    if (this.phase !== 'told' || (this.speech && !this.speech.finished)) return false
    this.emit({ type: 'end', reason: this.#reason, usage: this.usage })
    this.#over(this.#reason)
    this.queue.close()
    return true
  }

  /** Ends it with an error for its reader. */
  fail(error: unknown): void {
    if (this.phase === 'over') return
    this.#over(this.#controller.signal.aborted ? 'aborted' : 'failed')
    this.queue.close({ error, drop: this.#controller.signal.aborted })
  }

  get usage(): EngineUsage {
    return { prompt: this.prompt!.usage, ...this.#counts }
  }

  get #counts(): Required<ReplyCounts> {
    const { reader, speech } = this.resources
    return {
      textTokens: reader.textTokens,
      reasoningTokens: reader.reasoningTokens,
      audioTokens: speech?.audioTokens ?? 0,
    }
  }

  #send(step: ReplyStep): void {
    for (const { channel, text } of step.pieces)
      this.emit({ type: channel === 'reasoning' ? 'reasoning-delta' : 'text-delta', text, counts: this.#counts })
    this.speech?.say(step.spoken)
  }

  #tell(reason: 'stop' | 'length', step: ReplyStep): void {
    this.#reason = step.stopped ? 'stop' : reason
    this.#send(step)
    this.speech?.endText()
    this.resources.sequence[Symbol.dispose]()
    this.phase = 'told'
  }

  #over(outcome: RequestMetrics['outcome']): void {
    const resources = this.#resources
    const reader = resources?.reader
    this.phase = 'over'
    resources?.sequence[Symbol.dispose]()
    const decoding = resources?.speech?.decoding
    resources?.speech?.[Symbol.dispose]()
    this.features = undefined
    this.encoding?.cancel(new DOMException('The request is over.', 'AbortError'))
    this.encoding = undefined
    this.encoded.length = 0
    this.#onSettled(
      this.stopwatch.report(
        {
          id: this.request.id,
          outcome,
          promptTokens: this.prompt?.usage.total ?? 0,
          reasoningTokens: reader?.reasoningTokens ?? 0,
          textTokens: reader?.textTokens ?? 0,
          audioFrames: resources?.speech?.frameCount ?? 0,
        },
        this.#sampleRate,
      ),
    )
    if (decoding) void decoding.then(this.#settle)
    else this.#settle()
  }
}
