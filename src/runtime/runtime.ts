/**
 * Runs a loaded model for many requests at once.
 *
 * In: requests with their media. Out: a stream of events for each. A loop admits waiting requests, then runs one piece
 * of encoding, one batched thinker step and one batched speech step; the vocoder runs in parallel. So speech is
 * generated while text is, and a long prompt is prefilled in chunks between other replies' tokens. A slow or cancelled
 * reader affects only its own request. Nothing is released in the middle of a step.
 */

import { EngineError, type EngineEvent, type GenerationRequest, type PromptUsage } from '../contract/index.ts'
import type { OmniModel } from '../models/stages.ts'
import type { PromptFeature } from '../prompt/prepared-prompt.ts'
import { ArrivingAudios, type OpenAudio } from './arriving-audios.ts'
import { checkModalities, checkTools, reserve } from './request-limits.ts'
import type { EncodedFeature } from './prompt-features.ts'
import type { Clock } from './request-metrics.ts'
import { FeatureLoader } from './feature-loader.ts'
import { type PlanFacts, planReply } from './reply-plan.ts'
import { RequestTask } from './request-task.ts'
import type { RuntimeOptions } from './runtime-options.ts'
import { SequencePool } from './sequence-pool.ts'
import { prefillShared } from './shared-prefix.ts'
import { SpeechTask } from './speech-task.ts'
import { StageProfile } from './stage-profile.ts'
import { stageFailure } from './stage-failure.ts'
import type { ToolMarkers } from './tool-calls.ts'
import { Scheduler } from './scheduler.ts'
import { VocoderSlots } from './vocoder-slots.ts'

export type { ReplyWatcher, RuntimeOptions } from './runtime-options.ts'

/** Requests that may have decoded media in memory at the same time. Text requests do not wait for them. */
const maxRequestsWithMedia = 2

export class Runtime {
  readonly #options: RuntimeOptions
  readonly #model: OmniModel
  readonly #think: { readonly open: number; readonly close: number } | undefined
  readonly #tools: ToolMarkers | undefined
  readonly #clock: Clock
  readonly contextLength: number
  #waiting: RequestTask[] = []
  #active: RequestTask[] = []
  /** Tasks that have not released everything. */
  readonly #unsettled = new Set<RequestTask>()
  #closed = false
  #wake: (() => void) | undefined
  /** The loop waits for `#wake`. */
  #idle = false
  readonly #profile = new StageProfile()
  readonly #scheduler: Scheduler
  readonly #vocoderSlots = new VocoderSlots()
  readonly #pool: SequencePool
  readonly #arriving: ArrivingAudios
  readonly #freedSubscription: Disposable | undefined
  /** Work between steps that belongs to no request. */
  #jobs: (() => Promise<void>)[] = []
  readonly #loop: Promise<void>

  constructor(options: RuntimeOptions) {
    this.#options = options
    const model = this.#profile.instrument(options.model)
    this.#model = model
    this.#clock = options.clock ?? (() => performance.now())
    this.contextLength = Math.min(options.contextLength ?? Infinity, model.thinker.contextLength)
    const open = options.tokenizer.tokenId('<think>')
    const close = options.tokenizer.tokenId('</think>')
    this.#think = open !== undefined && close !== undefined && !options.plainThink ? { open, close } : undefined
    const openCall = options.tokenizer.tokenId('<tool_call>')
    const closeCall = options.tokenizer.tokenId('</tool_call>')
    this.#tools =
      options.tools && openCall !== undefined && closeCall !== undefined
        ? { open: openCall, close: closeCall }
        : undefined
    this.#pool = new SequencePool({
      thinker: model.thinker,
      audioEncoder: model.audioEncoder,
      hiddenRows: model.speech?.hiddenRows ?? 'none',
      budget: options.budget,
      prefixes: options.maxCachedPrefixes ?? 64,
      encodedBytes: options.maxCachedMediaBytes ?? 2 ** 28,
    })
    this.#scheduler = new Scheduler({
      model,
      pool: this.#pool,
      clock: this.#clock,
      prefillTokens: options.prefillTokens ?? model.thinker.chunkTokens ?? 256,
      onEncoded: (task, feature) => this.#arriving.used(feature, task.request.cacheScope),
      onFreed: () => this.#onFreed(),
      freeAhead: () => this.#arriving.free(),
    })
    this.#arriving = new ArrivingAudios({
      model,
      pool: this.#pool,
      prepare: options.prepare,
      scopeOf,
      budget: options.budget,
      stepTokens: () => this.#scheduler.promptRows(this.#active.length > 0),
      features: options.audioFeatures,
      notify: () => this.#notify(),
    })
    this.#freedSubscription = options.budget?.onFreed(() => this.#onFreed())
    this.#loop = this.#run()
  }

  /** Sizes of the caches: sequences in the prefix cache, their tokens, and bytes of encoder outputs. */
  get cached(): { prefixes: number; tokens: number; mediaBytes: number } {
    const { prefixes, encoded } = this.#pool
    return { prefixes: prefixes.size, tokens: prefixes.tokens, mediaBytes: encoded.bytes }
  }

  /**
   * Prefills the common prefix of all prompts that begin with `messages`, and shares it with requests of all scopes.
   * Resolves when it is cached. Throws `overloaded` when it does not fit.
   */
  async share(messages: GenerationRequest['messages'], signal: AbortSignal): Promise<void> {
    const { prepare } = this.#options
    await new Promise<void>((resolve, reject) => {
      this.#jobs.push(() =>
        prefillShared({ messages, prepare, signal, thinker: this.#model.thinker, pool: this.#pool }).then(
          resolve,
          reject,
        ),
      )
      this.#notify()
    })
  }

  /**
   * Opens an audio that a later request will contain. It is encoded while it arrives, and the prompt up to it is
   * prefilled, while no other request waits for prefill. `request`: that request, with a placeholder as its last audio.
   * `prefills`: no message will be inserted before the audio. Undefined when only whole audio can be encoded. Throws as
   * {@link generate} does before its first event.
   */
  openAudio(request: GenerationRequest, { prefills }: { readonly prefills: boolean }): OpenAudio | undefined {
    this.#check(request)
    return this.#arriving.open(request, prefills)
  }

  /** Number of audios that are arriving. */
  get arriving(): number {
    return this.#arriving.size
  }

  /** Whether the loop works, for a request or for arriving audio. */
  get working(): boolean {
    return !this.#idle || this.#arriving.busy
  }

  /** Requests with a slot, and requests waiting for one. */
  get load(): { active: number; waiting: number } {
    return { active: this.#active.length, waiting: this.#waiting.length }
  }

  /** Counts the prompt's tokens. Throws as {@link generate} does before its first event. */
  async countPrompt(request: GenerationRequest, signal: AbortSignal): Promise<PromptUsage> {
    this.#check(request)
    const usage = this.#options.count
      ? await this.#options.count(request, signal)
      : (await this.#options.prepare(request, signal)).usage
    reserve(request, usage.total, this.contextLength, this.#think !== undefined)
    return usage
  }

  /** See `Engine.generate`. */
  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<EngineEvent, void, undefined> {
    signal.throwIfAborted()
    const task = this.#submit(request)
    const onAbort = (): void => {
      task.abort(signal.reason)
      this.#notify()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      for (;;) {
        const event = await task.queue.next()
        if (event === undefined) return
        yield event
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      task.abort(new DOMException('The reader closed the stream.', 'AbortError'))
      this.#notify()
      await task.settled
    }
  }

  /**
   * Ends live requests with `engine_closed` and waits until the last stage call has returned. The caller still owns the
   * model.
   */
  async close(): Promise<void> {
    this.#closed = true
    for (const task of [...this.#active, ...this.#waiting]) task.abort(closedError())
    this.#notify()
    await this.#loop
    await Promise.all([...this.#unsettled].map(({ settled }) => settled))
    this.#arriving[Symbol.dispose]()
    this.#freedSubscription?.[Symbol.dispose]()
    this.#pool[Symbol.dispose]()
    this.#model.speech?.clearCache?.()
  }

  #check(request: GenerationRequest): void {
    if (this.#closed) throw closedError()
    checkModalities(request, this.#model, this.#options.thinking === true && this.#think !== undefined)
    if (request.speech) this.#speaker(request.speech.voice)
    checkTools(request, this.#tools !== undefined)
  }

  #submit(request: GenerationRequest): RequestTask {
    this.#check(request)
    const limit = this.#options.maxWaiting ?? 64
    const slots = this.#options.maxConcurrent ?? 4
    // A request that the next step will admit still counts as waiting.
    if (this.#waiting.length + this.#active.length >= limit + slots)
      throw new EngineError(
        'overloaded',
        `${this.#active.length} requests are running and ${this.#waiting.length} waiting; try again later.`,
      )
    const { watch } = this.#options
    const task = new RequestTask(request, {
      bufferedEvents: this.#options.bufferedEvents ?? 128,
      clock: this.#clock,
      sampleRate: this.#model.speech?.sampleRate ?? 24_000,
      onDrain: () => this.#notify(),
      onSettled: (metrics) => {
        this.#profile.remove(task)
        if (request.cacheScope === undefined) this.#pool.prefixes.evictScope(scopeOf(request))
        this.#options.onMetrics?.(metrics)
        this.#onFreed()
      },
      onSequence: (owner, resumes) => this.#cacheSequence(owner, resumes),
      ...(watch && { onToken: (id: number) => watch.token(request.id, id) }),
    })
    this.#waiting.push(task)
    this.#profile.add(task)
    this.#unsettled.add(task)
    void task.settled.then(() => this.#unsettled.delete(task))
    this.#notify()
    return task
  }

  #speaker(voice: string): string {
    const speakers = this.#model.speech?.speakers ?? []
    const name = voice.toLowerCase()
    const speaker = this.#options.speakerFor ? this.#options.speakerFor(name) : name
    if (speaker !== undefined && speakers.includes(speaker)) return speaker
    throw new EngineError(
      'unsupported',
      `No speaker for voice '${voice}'; this checkpoint has ${speakers.join(', ') || 'none'}.`,
      { param: 'audio.voice' },
    )
  }

  #notify(): void {
    this.#idle = false
    this.#profile.refresh()
    this.#wake?.()
    this.#wake = undefined
  }

  async #run(): Promise<void> {
    for (;;) {
      const woken = new Promise<void>((resolve) => (this.#wake = resolve))
      this.#reap()
      if (this.#closed && this.#active.length === 0 && this.#waiting.length === 0) return
      for (const job of this.#jobs.splice(0)) await job()
      await this.#admit()
      this.#profile.refresh()
      const taken = await this.#scheduler.step(this.#active)
      const ahead = !this.#active.some(awaitsFirstToken) && (await this.#arriving.step())
      const worked = taken || ahead
      if (!worked && this.#wake) {
        this.#idle = true
        await woken
      }
      // Timers, messages and readers run between steps even if every stage returns at once.
      else await new Promise<void>((resolve) => void setImmediate(resolve))
    }
  }

  /** Removes tasks that are cancelled, failed or complete. */
  #reap(): void {
    for (const task of [...this.#active, ...this.#waiting]) {
      // A prompt in preparation owns nothing native, so the task can end before it is ready.
      if (task.signal.aborted) task.fail(task.signal.reason)
      else if (task.speech?.failure !== undefined) task.fail(stageFailure(task.speech.failure))
      else if (task.loader?.failure !== undefined) task.fail(task.loader.failure)
      else task.endIfDone()
    }
    this.#active = this.#active.filter((task) => task.phase !== 'over')
    this.#waiting = this.#waiting.filter((task) => task.phase !== 'over')
  }

  async #admit(): Promise<void> {
    while (this.#active.length < (this.#options.maxConcurrent ?? 4)) {
      const next = this.#waiting.findIndex((task) => !task.hasMedia || this.#requestsWithMedia < maxRequestsWithMedia)
      if (next < 0) break
      const [task] = this.#waiting.splice(next, 1) as [RequestTask]
      this.#active.push(task)
      task.phase = 'preparing'
      void this.#prepare(task)
    }
    // Running replies get memory before new ones.
    if (this.#active.some((task) => task.runnable && task.shortOfMemory)) return
    for (const task of this.#active.filter(({ phase }) => phase === 'prepared')) {
      // First come, first served: a smaller request does not overtake.
      if (task.waitsForMemory || !(await this.#begin(task))) break
    }
  }

  /** Number of requests whose media are being decoded, or wait to be encoded. */
  get #requestsWithMedia(): number {
    return this.#active.filter(
      ({ hasMedia, phase }) => hasMedia && (phase === 'preparing' || phase === 'prepared' || phase === 'encoding'),
    ).length
  }

  async #prepare(task: RequestTask): Promise<void> {
    try {
      const prompt = await this.#options.prepare(task.request, task.signal)
      if (task.inactive) return
      task.prompt = prompt
      task.phase = 'prepared'
    } catch (error) {
      task.fail(error)
    } finally {
      this.#notify()
    }
  }

  /** Acquires a sequence and starts the task. False when it has to wait for memory that others will release. */
  async #begin(task: RequestTask): Promise<boolean> {
    const scope = task.request.cacheScope
    let speech: SpeechTask | undefined
    try {
      const made = task.prompt!
      task.prompt = await this.#arriving.finalize(made, scope, (feature) => this.#pool.keyOf(feature, made))
      const { prompt } = task
      task.media = this.#pool.mediaOf(prompt)
      task.run = task.runUntil(Infinity)
      const plan = task.hasResources ? task.resources : planReply(task.request, prompt, this.#planFacts)
      speech = task.hasResources ? undefined : task.request.speech && this.#newSpeech(task)
      // Speech memory comes first: without it, the reply would fail in the middle.
      await speech?.reply.reserve()
      const acquired = await this.#pool.acquire({
        run: task.run,
        scope: scopeOf(task.request),
        capacity: plan.capacity,
        speaks: task.request.speech !== undefined,
      })
      const missing = this.#mediaToEncode(task, acquired.reused)
      task.begin(speech ? { ...plan, speech } : plan, acquired, missing.encode)
      for (const feature of prompt.features) if (!missing.load.includes(feature)) feature.release?.()
      for (const known of missing.known) task.addEncoded(known, this.#model.thinker.hiddenSize)
      if (missing.load.length === 0) task.announce()
      else {
        const loader = new FeatureLoader(missing.load, task.signal, () => {
          if (loader.complete) task.announce()
          this.#notify()
        })
        task.loader = loader
      }
      return true
    } catch (error) {
      speech?.[Symbol.dispose]()
      const short = error instanceof EngineError && error.code === 'overloaded'
      if (short && error.retryable) {
        if (this.#active.some((other) => other !== task && other.usesMemory && other.phase !== 'over')) {
          task.waitsForMemory = true
          return false
        }
        if ((await this.#arriving.free()) || task.speech?.preempt()) {
          this.#notify()
          return false
        }
        task.fail(permanentOverload(error))
        return true
      }
      task.fail(error)
      return true
    }
  }

  /** Media of the rows to prefill: those with a cached encoder output, and those to load and encode. */
  #mediaToEncode(
    task: RequestTask,
    reused: number,
  ): { encode: number; known: readonly EncodedFeature[]; load: readonly PromptFeature[] } {
    const prompt = task.prompt!
    const scope = task.request.cacheScope
    const known: EncodedFeature[] = []
    const load: PromptFeature[] = []
    for (const feature of prompt.features) {
      if ((feature.rows.at(-1) ?? -1) < reused) continue
      const key = this.#pool.keyOf(feature, prompt)
      const medium = scope === undefined || key === undefined ? undefined : this.#pool.encoded.get(scope, key)
      if (medium) known.push({ rows: feature.rows, ...medium })
      else load.push(feature)
    }
    return { encode: known.length + load.length, known, load }
  }

  /**
   * Adds a task's sequence to the prefix cache, for later requests of its scope, or for the task itself when it is
   * preempted and `resumes`.
   */
  #cacheSequence(task: RequestTask, resumes: boolean): void {
    const { sequence, hidden } = task
    if (!sequence) return
    const run = task.runUntil(sequence.length)
    const { request } = task
    const scope = resumes || request.cacheScope !== undefined ? scopeOf(request) : undefined
    this.#pool.release({ scope, run, sequence, hidden })
    // Cached sequences are reclaimable, so a request that waits for memory may try again.
    this.#onFreed()
  }

  #onFreed(): void {
    for (const task of this.#active) task.memoryFreed()
    this.#notify()
  }

  get #planFacts(): PlanFacts {
    const { tokenizer, endTokenIds } = this.#options
    return { tokenizer, endTokenIds, contextLength: this.contextLength, think: this.#think, tools: this.#tools }
  }

  #newSpeech(task: RequestTask): SpeechTask {
    const { request, prompt, run, signal } = task
    const caches = request.cacheScope !== undefined && this.#options.maxCachedPrefixes !== 0
    const pipeline = this.#model.speech
    if (!pipeline || !request.speech || !prompt || !run) throw new Error('The request was not checked for speech.')
    const { watch } = this.#options
    const speaker = this.#speaker(request.speech.voice)
    return new SpeechTask({
      pipeline,
      reply: pipeline.newReply({
        prompt,
        speaker,
        seed: request.sampling.seed,
        ...(caches && { cacheKey: { scope: scopeOf(request), run } }),
      }),
      signal,
      vocoderSlots: this.#vocoderSlots,
      clock: this.#clock,
      emit: (pcm) => task.emitAudio(pcm),
      wake: () => this.#notify(),
      idle: () => this.#idle,
      ...(watch && { onFrame: (codes: Int32Array) => watch.frame(request.id, codes) }),
    })
  }
}

/** The scope of a request's prefixes. Without `cacheScope`, a request reuses only its own. */
function scopeOf({ id, cacheScope }: GenerationRequest): string {
  return JSON.stringify(cacheScope === undefined ? ['request', id] : ['scope', cacheScope])
}

/** Whether the request's first token still waits for its prompt. */
function awaitsFirstToken({ phase, runnable }: RequestTask): boolean {
  return runnable && (phase === 'preparing' || phase === 'prepared' || phase === 'encoding' || phase === 'prefill')
}

/** No other request uses memory, so waiting does not help, unless the device itself ran out of memory. */
function permanentOverload(error: EngineError): EngineError {
  if (error.cause !== undefined) return error
  const fix = 'Shorten the messages, ask for fewer max_tokens, or give the server a larger --cache-memory.'
  return new EngineError('overloaded', `${error.message}. ${fix}`, { retryable: false })
}

function closedError(): EngineError {
  return new EngineError('engine_closed', 'The engine was closed.')
}
