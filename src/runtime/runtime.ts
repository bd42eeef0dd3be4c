/**
 * Runs a loaded model for many requests at once.
 *
 * In: requests with decoded media. Out: a stream of events for each. One loop takes turns: give places to waiting requests, run one
 * encoder job, one batched thinker step, one batched step of the family's speech; the vocoder works beside it. So speech is made while
 * text is still being generated, a long prompt is read in pieces between other replies' tokens, and whoever reads slowly or leaves
 * affects only their own request. Nothing a request holds is released in the middle of a step.
 */

import { EngineError, type EngineEvent, type GenerationRequest, type PromptUsage } from '../contract/index.ts'
import type { OmniModel } from '../models/stages.ts'
import type { PreparedPrompt } from '../prompt/prepared-prompt.ts'
import { createRandom, textStream } from '../sampling/random.ts'
import { createSampler } from '../sampling/sampler.ts'
import { whenAllAborted } from './abort.ts'
import { checkModalities, reserve } from './admission.ts'
import { encodePiece } from './encoder-step.ts'
import type { Clock, RequestMetrics } from './metrics.ts'
import { ReplyReader, type RuntimeTokenizer } from './reply-reader.ts'
import { RequestTask, type TaskResources } from './request-task.ts'
import { SpeechTask } from './speech-task.ts'
import { stageFailure } from './stage-failure.ts'
import { prefillBudget, thinkerStep } from './thinker-step.ts'
import { Undo } from './undo.ts'

export interface RuntimeOptions {
  readonly model: OmniModel
  readonly tokenizer: RuntimeTokenizer
  /** Template, tokens, positions and features of a request. May take its time; rejects with an `EngineError`. */
  readonly prepare: (request: GenerationRequest, signal: AbortSignal) => Promise<PreparedPrompt>
  /** Token counts only; `prepare` is used when absent. */
  readonly count?: (request: GenerationRequest, signal: AbortSignal) => Promise<PromptUsage>
  /** Ids that end a reply. */
  readonly endTokenIds: readonly number[]
  /** Whether the checkpoint can be asked to reason. */
  readonly thinking?: boolean
  /** Read `<think>` as plain text (parity tests with random weights). */
  readonly plainThink?: boolean
  /** At most the thinker's. */
  readonly contextLength?: number
  /** Native speaker for a voice name (lower case), or undefined when there is none to stand in. */
  readonly speakerFor?: (voice: string) => string | undefined
  /** Requests worked on at once. */
  readonly maxConcurrent?: number
  /** Requests waiting for a place; one more is `overloaded`. */
  readonly maxWaiting?: number
  /** Prompt tokens read in one step when nobody waits. */
  readonly prefillTokens?: number
  /** Events (or tenths of a second of sound) a slow reader may leave unread before his request pauses. */
  readonly bufferedEvents?: number
  /** Throws `overloaded` when the caches just made are more than the machine should hold. */
  readonly checkRoom?: () => void
  readonly onMetrics?: (metrics: RequestMetrics) => void
  /** Sees what is generated, id by id: parity tests compare more than text and sound. */
  readonly watch?: ReplyWatcher
  readonly clock?: Clock
}

export interface ReplyWatcher {
  /** A thinker token, the end token included. */
  token(requestId: string, id: number): void
  /** One frame of speech, [groups]. */
  frame(requestId: string, codes: Int32Array): void
}

export class Runtime {
  readonly #options: RuntimeOptions
  readonly #model: OmniModel
  readonly #think: { readonly open: number; readonly close: number } | undefined
  readonly #clock: Clock
  readonly contextLength: number
  #waiting: RequestTask[] = []
  #active: RequestTask[] = []
  /** Not over, or over with the vocoder not yet stopped. */
  readonly #unsettled = new Set<RequestTask>()
  #closed = false
  #wake: (() => void) | undefined
  /** Waiting for `#wake`, with nothing to do. */
  #idle = false
  #millisecondsPerToken: number | undefined
  readonly #loop: Promise<void>

  constructor(options: RuntimeOptions) {
    this.#options = options
    const model = options.model
    this.#model = model
    this.#clock = options.clock ?? (() => performance.now())
    this.contextLength = Math.min(options.contextLength ?? Infinity, model.thinker.contextLength)
    const open = options.tokenizer.tokenId('<think>')
    const close = options.tokenizer.tokenId('</think>')
    this.#think = open !== undefined && close !== undefined && !options.plainThink ? { open, close } : undefined
    this.#loop = this.#run()
  }

  /** Requests with a place, and requests waiting for one. */
  get load(): { active: number; waiting: number } {
    return { active: this.#active.length, waiting: this.#waiting.length }
  }

  /** Tokens the prompt would take. Throws as {@link generate} before its first event. */
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
      task.abort(new DOMException('The reader left.', 'AbortError'))
      this.#notify()
      await task.settled
    }
  }

  /** Ends live requests with `engine_closed` and waits until the last stage call has returned. The model stays the caller's. */
  async close(): Promise<void> {
    this.#closed = true
    for (const task of [...this.#active, ...this.#waiting]) task.abort(closedError())
    this.#notify()
    await this.#loop
    await Promise.all([...this.#unsettled].map(({ settled }) => settled))
  }

  #check(request: GenerationRequest): void {
    if (this.#closed) throw closedError()
    checkModalities(request, this.#model, this.#options.thinking === true && this.#think !== undefined)
    if (request.speech) this.#speaker(request.speech.voice)
  }

  #submit(request: GenerationRequest): RequestTask {
    this.#check(request)
    const limit = this.#options.maxWaiting ?? 64
    const places = this.#options.maxConcurrent ?? 4
    if (this.#waiting.length >= limit && this.#active.length >= places)
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
      onSettled: (metrics) => this.#options.onMetrics?.(metrics),
      ...(watch && { onToken: (id: number) => watch.token(request.id, id) }),
    })
    this.#waiting.push(task)
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
    this.#wake?.()
    this.#wake = undefined
  }

  async #run(): Promise<void> {
    for (;;) {
      const woken = new Promise<void>((resolve) => (this.#wake = resolve))
      this.#reap()
      if (this.#closed && this.#active.length === 0 && this.#waiting.length === 0) return
      this.#admit()
      const worked = await this.#step()
      if (!worked && this.#wake) {
        this.#idle = true
        await woken
      }
      // Lets timers, messages and readers have their turn even where the stages answer at once.
      else await new Promise<void>((resolve) => void setImmediate(resolve))
    }
  }

  /** Drops what has been given up and what is complete. */
  #reap(): void {
    for (const task of [...this.#active, ...this.#waiting]) {
      // While its prompt is being made nothing native is held; the promise finds it over.
      if (task.signal.aborted) task.fail(task.signal.reason)
      else if (task.speech?.failure !== undefined) task.fail(stageFailure(task.speech.failure))
      else task.endIfDone()
    }
    this.#active = this.#active.filter((task) => task.phase !== 'over')
    this.#waiting = this.#waiting.filter((task) => task.phase !== 'over')
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#active.length < (this.#options.maxConcurrent ?? 4)) {
      const task = this.#waiting.shift()!
      this.#active.push(task)
      task.phase = 'preparing'
      void this.#prepare(task)
    }
    for (const task of this.#active.filter(({ phase }) => phase === 'prepared')) if (!this.#begin(task)) break
  }

  async #prepare(task: RequestTask): Promise<void> {
    try {
      const prompt = await this.#options.prepare(task.request, task.signal)
      if (task.gone) return
      task.prompt = prompt
      task.phase = 'prepared'
    } catch (error) {
      task.fail(error)
    } finally {
      this.#notify()
    }
  }

  /** Reserves caches and starts; false when memory is short and somebody else will give some back. */
  #begin(task: RequestTask): boolean {
    try {
      task.begin(task.prompt!, this.#reserve(task))
      return true
    } catch (error) {
      const short = error instanceof EngineError && error.code === 'overloaded'
      if (short && this.#active.some((other) => other.holdsMemory && other.phase !== 'over')) return false
      task.fail(error)
      return true
    }
  }

  #reserve(task: RequestTask): TaskResources {
    const { request } = task
    const prompt = task.prompt!
    const { endTokenIds, tokenizer } = this.#options
    const think = this.#think
    // A checkpoint that always reasons needs room for it, asked or not.
    const thinking = request.thinking ?? (prompt.insideReasoning ? {} : undefined)
    const { capacity, tokenLimit, reasoningBudget } = reserve(
      {
        maxTokens: request.maxTokens,
        ...(request.maxTotalTokens !== undefined && { maxTotalTokens: request.maxTotalTokens }),
        ...(thinking && { thinking }),
      },
      prompt.tokenIds.length,
      this.contextLength,
      think !== undefined,
    )
    const startsInReasoning = think !== undefined && prompt.insideReasoning
    const { sampling } = request
    const sampler = createSampler(
      {
        temperature: sampling.temperature,
        topP: sampling.topP,
        topK: sampling.topK,
        repetitionPenalty: sampling.repetitionPenalty,
        presencePenalty: sampling.presencePenalty,
      },
      createRandom(sampling.seed, textStream),
      prompt.tokenIds,
    )
    using undo = new Undo()
    const sequence = undo.use(this.#model.thinker.newSequence(capacity))
    const speech = request.speech && undo.use(this.#newSpeech(task))
    this.#options.checkRoom?.()
    undo.keep()
    return {
      sequence,
      sampler,
      reader: new ReplyReader({
        tokenizer,
        stop: request.stop,
        think,
        startsInReasoning,
        firstRow: prompt.tokenIds.length,
      }),
      speech,
      endTokenIds: new Set([...endTokenIds, ...(request.stopTokenIds ?? [])]),
      tokenLimit,
      reasoningBudget,
      closing: think ? [think.close, ...Array.from(tokenizer.encode('\n\n'))] : [],
    }
  }

  #newSpeech(task: RequestTask): SpeechTask {
    const { request, prompt, signal } = task
    const pipeline = this.#model.speech
    if (!pipeline || !request.speech || !prompt) throw new Error('The request was not checked for speech.')
    const { watch } = this.#options
    const speaker = this.#speaker(request.speech.voice)
    return new SpeechTask({
      pipeline,
      reply: pipeline.newReply({ prompt, speaker, seed: request.sampling.seed }),
      signal,
      emit: (pcm) => task.emitAudio(pcm),
      wake: () => this.#notify(),
      idle: () => this.#idle,
      ...(watch && { onFrame: (codes: Int32Array) => watch.frame(request.id, codes) }),
    })
  }

  /** One turn of everything that can go on. Returns whether anything could. */
  async #step(): Promise<boolean> {
    const encoded = await encodePiece(this.#active, this.#model)
    const written = await this.#writeText()
    const spoken = await this.#speak()
    return encoded || written || spoken || this.#active.some((task) => task.phase !== 'over' && isComplete(task))
  }

  async #writeText(): Promise<boolean> {
    const tasks = this.#active.filter((task) => task.runnable && (task.phase === 'prefill' || task.phase === 'decode'))
    if (tasks.length === 0) return false
    const reading = tasks.some((task) => task.phase === 'prefill')
    const budget = this.#readingBudget(this.#active.some((task) => task.runnable && task.phase !== 'prefill'))
    using batch = whenAllAborted(tasks.map((task) => task.signal))
    const started = this.#clock()
    try {
      const read = await thinkerStep(this.#model.thinker, tasks, budget, batch.signal)
      if (reading && read > 0) this.#millisecondsPerToken = (this.#clock() - started) / read
    } catch (error) {
      for (const task of tasks) task.fail(task.signal.aborted ? task.signal.reason : stageFailure(error))
    }
    return true
  }

  #readingBudget(othersWait: boolean): number {
    return prefillBudget({
      othersWait,
      millisecondsPerToken: this.#millisecondsPerToken,
      largest: this.#options.prefillTokens ?? 256,
    })
  }

  async #speak(): Promise<boolean> {
    const pipeline = this.#model.speech
    const tasks = this.#active.filter((task) => task.runnable && task.speech?.canWork)
    if (tasks.length === 0 || !pipeline) return false
    for (const task of tasks) task.speech?.decode()
    const advancing = tasks.filter((task) => task.speech?.canAdvance)
    if (advancing.length === 0) return true
    using batch = whenAllAborted(advancing.map((task) => task.signal))
    const turns = advancing.map((task) => task.speech!)
    try {
      await pipeline.advance(turns, {
        prefillRows: this.#readingBudget(this.#active.length > 1),
        signal: batch.signal,
      })
    } catch (error) {
      for (const turn of turns) turn.fail(error)
    }
    return true
  }
}

function isComplete(task: RequestTask): boolean {
  return task.signal.aborted || (task.phase === 'told' && (task.speech?.finished ?? true))
}

function closedError(): EngineError {
  return new EngineError('engine_closed', 'The engine was closed.')
}
