/**
 * One live request: its phase, its caches, and the handling of its next token.
 *
 * In: logits from the thinker step, audio from its speech. Out: events in its queue. It owns its caches and releases
 * them when its text ends, its speech ends, or it is cancelled.
 */

import { randomBytes } from 'node:crypto'
import type {
  EndReason,
  EngineEvent,
  EngineUsage,
  GenerationRequest,
  PromptUsage,
  ReplyCounts,
} from '../contract/index.ts'
import type { StageSequence } from '../models/stages.ts'
import type { PreparedPrompt } from '../prompt/prepared-prompt.ts'
import { EventQueue } from './event-queue.ts'
import type { RequestStatus } from './step-plan.ts'
import { type RequestMetrics, type Clock, Stopwatch } from './request-metrics.ts'
import type { EncodedMedium } from './encoded-cache.ts'
import type { EncoderJob } from './encoder-job.ts'
import type { FeatureLoader, LoadedFeature } from './feature-loader.ts'
import type { HiddenRows } from './prefix-cache.ts'
import { type EncodedFeature, PromptFeatures } from './prompt-features.ts'
import type { ReplyReader, ReplyStep } from './reply-reader.ts'
import type { Sampler } from '../sampling/sampler.ts'
import type { AcquiredSequence } from './sequence-pool.ts'
import type { SpeechTask } from './speech-task.ts'
import { type MediaRows, runOf, type TokenRun } from '../models/token-run.ts'

/** What a request needs to be generated, once it has a slot. */
export interface TaskResources {
  readonly sampler: Sampler
  readonly reader: ReplyReader
  readonly speech: SpeechTask | undefined
  /** Ids that end the reply. */
  readonly endTokenIds: ReadonlySet<number>
  /** Most tokens in its sequence. */
  readonly capacity: number
  /** Most generated tokens, including markers. */
  readonly tokenLimit: number
  /** Most reasoning tokens: then `closing` is forced. */
  readonly reasoningBudget: number
  /** Ids that end the reasoning. */
  readonly closing: readonly number[]
  /** Forced ids at the start of the reply, such as those of a required call. */
  readonly opening: readonly number[]
  /** The reply ends with its first call. */
  readonly oneCall: boolean
}

export type TaskPhase =
  /** In the request queue. */
  | 'waiting'
  /** Its prompt is being prepared. */
  | 'preparing'
  /** Waits for memory for its caches. */
  | 'prepared'
  | 'encoding'
  | 'prefill'
  | 'decode'
  /** The text is complete; speech may continue. */
  | 'generated'
  | 'over'

export class RequestTask {
  readonly request: GenerationRequest
  readonly queue: EventQueue
  readonly stopwatch: Stopwatch
  phase: TaskPhase = 'waiting'
  prompt: PreparedPrompt | undefined
  /** Rows and cache keys of the prompt's media. */
  media: readonly MediaRows[] = []
  /** The tokens to prefill: the prompt, and tokens generated before a preemption. */
  run: TokenRun | undefined
  /** Left out of steps until memory is freed: there was none for its next token. */
  waitsForMemory = false
  /** Its last reservation failed. */
  #shortOfMemory = false
  sequence: StageSequence | undefined
  /** Encoder inputs of the media without a cached output. */
  loader: FeatureLoader | undefined
  /** The medium being encoded, and the encoder steps of its media so far. */
  encoding: { readonly loaded: LoadedFeature; readonly job: EncoderJob<EncodedMedium> } | undefined
  encoderSteps = 0
  features: PromptFeatures | undefined
  /** Tokens of the run in the cache. */
  processed = 0
  /** Prompt tokens reused from the prefix cache. */
  reused = 0
  /** Hidden states that speech may need, by row. */
  hidden = new Map<number, Float32Array>()
  /** Generated thinker tokens, including the end token. */
  readonly generatedIds: number[] = []
  /** The input token of the next step. */
  lastId = -1
  #resources: TaskResources | undefined
  readonly #encoded: EncodedFeature[] = []
  #toEncode = 0
  #announced = false
  /** Rows whose hidden states speech has received. */
  #speechRows = 0
  #forced: number[] = []
  #logits: Float32Array | undefined
  #reason: EndReason = 'stop'
  #calls = 0
  readonly #controller = new AbortController()
  readonly #onSettled: (metrics: RequestMetrics) => void
  readonly #onSequence: (task: RequestTask, resumes: boolean) => void
  readonly #onToken: ((id: number) => void) | undefined
  readonly #sampleRate: number
  #settle: () => void = () => undefined
  /** Resolves once the task is over and has released everything. */
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
      /** Takes over the sequence that the task releases. `resumes`: the task is preempted and needs it again. */
      readonly onSequence: (task: RequestTask, resumes: boolean) => void
    },
  ) {
    this.request = request
    this.queue = new EventQueue(options.bufferedEvents, options.onDrain)
    this.stopwatch = new Stopwatch(options.clock)
    this.#onSettled = options.onSettled
    this.#onSequence = options.onSequence
    this.#onToken = options.onToken
    this.#sampleRate = options.sampleRate
    this.settled = new Promise((resolve) => (this.#settle = resolve))
  }

  /** Fires when the request is cancelled. It aborts stage calls of this request alone. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Whether it has images, audio or video to load. */
  get hasMedia(): boolean {
    return this.request.messages.some(({ content }) => content.some(({ type }) => type !== 'text'))
  }

  get inactive(): boolean {
    return this.#controller.signal.aborted || this.phase === 'over'
  }

  /** Whether steps may include it: it is live, and its reader keeps up. */
  get runnable(): boolean {
    return !this.inactive && !this.queue.full
  }

  get resources(): TaskResources {
    if (!this.#resources) throw new Error('The request has no slot yet.')
    return this.#resources
  }

  get speech(): SpeechTask | undefined {
    return this.#resources?.speech
  }

  get hasResources(): boolean {
    return this.#resources !== undefined
  }

  /** Its status for the plan of the next step. */
  get status(): RequestStatus {
    const { runnable, phase, speech } = this
    return {
      canPrefill: runnable && (phase === 'prefill' || (phase === 'encoding' && this.canEncode)),
      canDecode: runnable && phase === 'decode',
      ...(speech && { speech: { ...speech.status, canWork: runnable && speech.canWork } }),
    }
  }

  get usesMemory(): boolean {
    return this.sequence !== undefined || (this.speech !== undefined && this.speech.reply.cacheBytes > 0)
  }

  /** Whether the last reservation of its text or its speech failed. */
  get shortOfMemory(): boolean {
    return this.#shortOfMemory || this.speech?.shortOfMemory === true
  }

  /** Records whether its sequence got memory for the next token. */
  recordReservation(succeeded: boolean): void {
    this.#shortOfMemory = !succeeded
    this.waitsForMemory = !succeeded
  }

  /** Memory was freed: it may reserve again. */
  memoryFreed(): void {
    this.waitsForMemory = false
    if (this.speech) this.speech.waitsForMemory = false
  }

  get generated(): number {
    return this.generatedIds.length
  }

  /** Row in its sequence of the next step's first token. */
  get row(): number {
    return this.sequence?.length ?? 0
  }

  /** Whether an encoder has work for it. */
  get canEncode(): boolean {
    return this.encoding !== undefined || this.loader?.ready === true
  }

  /** Cancels the request. The loop removes the task before its next step. */
  abort(reason: unknown): void {
    this.#controller.abort(reason)
  }

  /** The tokens in its sequence when its length is `length`. */
  runUntil(length: number): TokenRun {
    return runOf(this.prompt!, this.media, this.generatedIds, length)
  }

  /** Starts or resumes generation. `encode`: media to encode before prefill. */
  begin(resources: TaskResources, { sequence, reused, hidden }: AcquiredSequence, encode: number): void {
    const first = this.#resources === undefined
    this.#resources = resources
    this.sequence = sequence
    this.processed = reused
    this.waitsForMemory = false
    this.#toEncode = encode
    this.phase = encode > 0 ? 'encoding' : 'prefill'
    this.#restoreHidden(hidden)
    if (!first) return
    this.reused = reused
    this.stopwatch.admitted()
    if (resources.reader.reasoning && resources.reasoningBudget <= 0) this.#forced = [...resources.closing]
    else this.#forced = [...resources.opening]
  }

  /** Sends `start`, once. Its media have been decoded. */
  announce(): void {
    if (this.#announced) return
    this.#announced = true
    this.emit({ type: 'start', prompt: this.#promptUsage })
  }

  /** Adds a medium's encoder output. Prefill begins after the last one. */
  addEncoded(feature: EncodedFeature, hiddenSize: number): void {
    this.#encoded.push(feature)
    if (this.#encoded.length < this.#toEncode) return
    this.features = new PromptFeatures(this.#encoded, hiddenSize)
    this.#encoded.length = 0
    this.loader = undefined
    this.phase = 'prefill'
  }

  /**
   * Passes the thinker's hidden states of rows from `from` on, [tokens, width], to speech, and retains those of the
   * `wanted` rows.
   */
  takeHidden(from: number, hidden: Float32Array, width: number, wanted: (row: number) => boolean): void {
    const tokens = hidden.length / width
    for (let token = 0; token < tokens; token += 1)
      if (wanted(from + token)) this.hidden.set(from + token, hidden.slice(token * width, (token + 1) * width))
    const fresh = Math.max(0, this.#speechRows - from)
    if (fresh >= tokens) return
    this.#speechRows = from + tokens
    this.speech?.takeHidden(from + fresh, fresh === 0 ? hidden : hidden.slice(fresh * width))
  }

  /** Preempts the request: its sequence is released, and computed again later. */
  preempt(): void {
    this.#releaseSequence(true)
    this.processed = 0
    this.#shortOfMemory = false
    this.waitsForMemory = true
    this.phase = 'prepared'
  }

  #restoreHidden(cached: HiddenRows): void {
    for (const [row, hidden] of [...cached].toSorted(([left], [right]) => left - right)) {
      this.hidden.set(row, hidden)
      if (row < this.#speechRows) continue
      this.speech?.takeHidden(row, hidden)
      this.#speechRows = row + 1
    }
  }

  emit(event: EngineEvent): void {
    if (!this.inactive) this.queue.push(event)
  }

  emitAudio(pcm: Int16Array): void {
    this.stopwatch.audio(pcm.length)
    this.emit({ type: 'audio-delta', pcm, counts: this.#counts })
  }

  /** One array for the logits of all steps. */
  logitsArray(vocabulary: number): Float32Array {
    this.#logits ??= new Float32Array(vocabulary)
    return this.#logits
  }

  /** Adds the next token: a forced one, or one sampled from `logits` (which sampling overwrites). */
  takeLogits(logits: Float32Array): void {
    const { sampler, reader, endTokenIds, tokenLimit, reasoningBudget, closing } = this.resources
    const forced = this.#forced.shift()
    if (forced !== undefined) sampler.observe(forced)
    const id = forced ?? sampler(logits)
    this.generatedIds.push(id)
    this.stopwatch.token()
    this.#onToken?.(id)
    if (endTokenIds.has(id)) return this.#endText('stop', reader.finish())
    const { maxTokens } = this.request
    // The last token before a limit never becomes an input, so transformers does not speak it.
    const cut = this.generated >= tokenLimit || (!reader.reasoning && reader.textTokens + 1 >= maxTokens)
    const step = reader.push(id, { speak: !cut })
    if (step.stopped || (step.call && this.resources.oneCall)) return this.#endText('stop', step)
    this.#send(step)
    if (this.generated >= tokenLimit || reader.textTokens >= maxTokens) return this.#endText('length', reader.finish())
    this.lastId = id
    this.phase = 'decode'
    const spent = reader.reasoning && reader.reasoningTokens >= reasoningBudget
    if (spent && this.#forced.length === 0) this.#forced = [...closing]
  }

  /** Sends `end` and releases everything, if text and speech are complete. Returns whether they are. */
  endIfDone(): boolean {
    if (this.phase !== 'generated' || (this.speech && !this.speech.finished)) return false
    this.emit({ type: 'end', reason: this.#reason, usage: this.usage })
    this.#over(this.#reason)
    this.queue.close()
    return true
  }

  /** Ends the request with an error. */
  fail(error: unknown): void {
    if (this.phase === 'over') return
    this.#over(this.#controller.signal.aborted ? 'aborted' : 'failed')
    this.queue.close({ error, drop: this.#controller.signal.aborted })
  }

  get usage(): EngineUsage {
    return { prompt: this.#promptUsage, ...this.#counts }
  }

  get #counts(): Required<ReplyCounts> {
    const { reader, speech } = this.resources
    return {
      textTokens: reader.textTokens,
      reasoningTokens: reader.reasoningTokens,
      audioTokens: speech?.audioTokens ?? 0,
    }
  }

  get #promptUsage(): PromptUsage {
    const { usage } = this.prompt!
    return this.reused > 0 ? { ...usage, cached: this.reused } : usage
  }

  #send(step: ReplyStep): void {
    for (const { channel, text } of step.pieces)
      this.emit({ type: channel === 'reasoning' ? 'reasoning-delta' : 'text-delta', text, counts: this.#counts })
    if (step.call) {
      const id = `call_${randomBytes(12).toString('hex')}`
      this.emit({ type: 'tool-call-delta', index: this.#calls, id, ...step.call, counts: this.#counts })
      this.#calls += 1
    }
    this.speech?.addText(step.spoken)
  }

  #endText(reason: 'stop' | 'length', step: ReplyStep): void {
    this.#send(step)
    const ended = step.stopped ? 'stop' : reason
    this.#reason = ended === 'stop' && this.#calls > 0 ? 'tool_calls' : ended
    this.speech?.endText()
    this.#releaseSequence()
    this.phase = 'generated'
  }

  #releaseSequence(resumes = false): void {
    if (!this.sequence) return
    this.#onSequence(this, resumes)
    this.sequence = undefined
    this.hidden = new Map()
  }

  #over(outcome: RequestMetrics['outcome']): void {
    const resources = this.#resources
    const reader = resources?.reader
    // The state of a sequence after a failed stage is unknown, so it is not cached.
    if (outcome === 'failed') {
      this.sequence?.[Symbol.dispose]()
      this.sequence = undefined
    } else this.#releaseSequence()
    this.phase = 'over'
    const decoding = resources?.speech?.decoding
    resources?.speech?.[Symbol.dispose]()
    this.features = undefined
    this.loader = undefined
    void this.encoding?.job.cancel(new DOMException('The request is over.', 'AbortError'))
    this.encoding = undefined
    this.#encoded.length = 0
    this.#onSettled(
      this.stopwatch.report(
        {
          id: this.request.id,
          outcome,
          promptTokens: this.prompt?.usage.total ?? 0,
          reusedTokens: this.reused,
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
