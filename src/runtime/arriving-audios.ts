/**
 * Incremental encoding of all arriving audio, one piece of work per step, while no request waits for its prefill.
 *
 * In: samples of each open audio. Out: features of complete audio, for the requests that contain it. All memory used
 * here is reclaimable: without it, the audio is encoded as a whole with its request.
 */

import { EngineError, type GenerationRequest } from '../contract/index.ts'
import type { MemoryBudget } from '../models/memory-budget.ts'
import type { AudioFeatureConfig } from '../prompt/log-mel.ts'
import type { AudioFeature, PreparedPrompt, PromptFeature } from '../prompt/prepared-prompt.ts'
import { ArrivingAudio } from './arriving-audio.ts'
import { EncoderJob, type Pause } from './encoder-job.ts'
import { type PrefillContext, prefillAhead, type PartialPrompt, partialPrompt } from './prefill-ahead.ts'

/** Mel frames that one step computes. */
const FRAMES_PER_STEP = 64
/** Frames without a new loudest one before invalid parts are encoded again. */
const QUIET_FRAMES = 100

/** The caller's handle for an audio that a later request will contain. Dispose it to discard the audio. */
export interface OpenAudio extends Disposable {
  /** The next samples, in [-1, 1], at the checkpoint's rate. */
  append(samples: Float32Array): void
  /**
   * The audio may be over, with `silence` samples of silence at its end. A request then refers to it by `contentKey`.
   */
  mayEnd(silence: number, contentKey: string): void
  /** No more samples follow. Requests refer to the audio by `contentKey`. */
  complete(contentKey: string): void
}

interface ArrivingAudiosOptions extends PrefillContext {
  readonly features: AudioFeatureConfig | undefined
  readonly budget: MemoryBudget | undefined
  /** Called when there is work for {@link ArrivingAudios.step}. */
  readonly notify: () => void
}

interface Entry {
  readonly audio: ArrivingAudio
  readonly abort: AbortController
  job: EncoderJob<'done'> | undefined
  /** Its partial prompt is being prepared. */
  preparing: boolean
  prompt: PartialPrompt | undefined
}

export class ArrivingAudios implements Disposable {
  readonly #options: ArrivingAudiosOptions
  /** Least recently served first. */
  #entries: Entry[] = []
  #number = 0
  /** Cancelled jobs that have not freed their memory yet. */
  readonly #ending = new Set<Promise<void>>()

  constructor(options: ArrivingAudiosOptions) {
    this.#options = options
    options.budget?.addReclaimer((bytes) => this.#reclaim(bytes))
  }

  get size(): number {
    return this.#entries.length
  }

  get busy(): boolean {
    return this.#entries.some(({ job, preparing }) => job !== undefined || preparing)
  }

  /** Starts an audio. Undefined when the encoder supports only whole audio. See `Runtime.openAudio`. */
  open(request: GenerationRequest, prefills: boolean): OpenAudio | undefined {
    const { features, budget, model } = this.#options
    const windows = model.audioEncoder?.windows
    if (!features || !windows) return undefined
    this.#number += 1
    const name = `arriving ${this.#number}`
    const prefillable = prefills && request.cacheScope !== undefined
    const audio = new ArrivingAudio({ name, request, prefills: prefillable, features, windows, budget })
    this.#entries.push({ audio, abort: new AbortController(), job: undefined, preparing: false, prompt: undefined })
    this.#options.notify()
    return {
      append: (samples) => {
        this.#change(audio, () => audio.append(samples))
        if (audio.dropped) this.#forget(audio)
        else this.#options.notify()
      },
      mayEnd: (silence, contentKey) => {
        this.#change(audio, () => audio.mayEnd(silence, contentKey))
        this.#options.notify()
      },
      complete: (contentKey) => this.#change(audio, () => audio.complete(contentKey)),
      [Symbol.dispose]: () => this.#forget(audio),
    }
  }

  /** Applies a change, and removes the cached encoder output of a possible end that the change discards. */
  #change(audio: ArrivingAudio, change: () => void): void {
    const { ending } = audio
    change()
    const { cacheScope } = audio.options.request
    if (ending?.encodedAs !== undefined && audio.ending !== ending && cacheScope !== undefined)
      this.#options.pool.encoded.delete(cacheScope, ending.encodedAs)
  }

  /** Does one piece of work. Returns whether there was any. */
  async step(): Promise<boolean> {
    for (const entry of this.#entries) {
      if (entry.audio.contentKey !== undefined || !(entry.job || this.#nextOf(entry))) continue
      this.#entries = [...this.#entries.filter((other) => other !== entry), entry]
      await this.#step(entry)
      return true
    }
    return false
  }

  async #step(entry: Entry): Promise<void> {
    try {
      entry.job ??= new EncoderJob((pause) => this.#work(entry, pause))
      if ((await entry.job.step()) === 'done') entry.job = undefined
    } catch {
      // The request that contains the audio fails in the same way, and reports the error.
      this.#forget(entry.audio)
    }
  }

  /** The prompt with features of arrived audio filled in. Prefixes prefilled for that audio can be found afterwards. */
  async finalize(
    prompt: PreparedPrompt,
    scope: string | undefined,
    keyOf: (feature: PromptFeature) => string | undefined,
  ): Promise<PreparedPrompt> {
    if (this.#entries.length === 0) return prompt
    const features: PromptFeature[] = []
    for (const feature of prompt.features) {
      const entry = this.#find(feature, scope)
      const finalized = entry && (await this.#finalize(entry, feature as AudioFeature, keyOf(feature)))
      features.push(finalized ?? feature)
    }
    return { ...prompt, features }
  }

  /** Discards an arrived audio once its feature has been encoded. */
  used(feature: PromptFeature, scope: string | undefined): void {
    const entry = feature.type === 'audio' && feature.ahead ? this.#find(feature, scope) : undefined
    if (entry) this.#forget(entry.audio)
  }

  [Symbol.dispose](): void {
    for (const { audio } of this.#entries) this.#forget(audio)
  }

  #find(feature: PromptFeature, scope: string | undefined): Entry | undefined {
    if (feature.type !== 'audio' || feature.source === undefined) return undefined
    const { contentKey } = feature.source
    return this.#entries.find(
      ({ audio }) => audio.contentKey === contentKey && audio.options.request.cacheScope === scope,
    )
  }

  async #finalize(entry: Entry, feature: AudioFeature, key: string | undefined): Promise<AudioFeature | undefined> {
    const { audio, job } = entry
    entry.job = undefined
    await job?.cancel(new DOMException('The audio is complete.', 'AbortError'))
    while (audio.levels.advance(FRAMES_PER_STEP)) await new Promise<void>((resolve) => void setImmediate(resolve))
    if (audio.dropped) return undefined
    const finalized = audio.finalize(feature, key)
    if (audio.ending?.encodedAs !== undefined) this.#forget(audio)
    return finalized
  }

  async #work(entry: Entry, pause: Pause): Promise<'done'> {
    for (let next = this.#nextOf(entry); next !== undefined; next = this.#nextOf(entry)) {
      await next(pause)
      await pause()
    }
    return 'done'
  }

  /** The most urgent piece of work for an audio. */
  #nextOf(entry: Entry): ((pause: Pause) => Promise<void>) | undefined {
    const { audio, abort, prompt } = entry
    const { levels, ending } = audio
    const { signal } = abort
    if (audio.dropped) return undefined
    if (levels.behind)
      return async () => {
        levels.advance(FRAMES_PER_STEP)
      }
    const { stale } = audio
    if (stale && (ending || levels.frames - levels.loudestAt >= QUIET_FRAMES)) return () => audio.encode(stale, signal)
    const { next } = audio
    if (next) return () => audio.encode(next, signal)
    const idle = ending
      ? ending.started
      : !audio.options.prefills || stale || audio.validTokens(levels.floor) <= audio.prefilled
    if (idle) return undefined
    if (prompt === undefined || prompt.ending !== ending) {
      if (!entry.preparing) void this.#prepare(entry)
      return undefined
    }
    return async (pause) => {
      entry.prompt = undefined
      if (ending) ending.started = true
      try {
        await prefillAhead(audio, prompt, this.#options, pause, signal)
      } catch (error) {
        if (ending?.abort.signal.aborted !== true && !(error instanceof EngineError && error.code === 'overloaded'))
          throw error
      }
      // A prefill that found no memory also counts, so that it is not retried at once.
      if (!ending && audio.validTokens(levels.floor) >= prompt.tokens)
        audio.prefilled = Math.max(audio.prefilled, prompt.tokens)
    }
  }

  /** Prepares the partial prompt, outside the loop. */
  async #prepare(entry: Entry): Promise<void> {
    const { audio, abort } = entry
    entry.preparing = true
    const { ending } = audio
    const tokens = audio.validTokens(audio.levels.floor)
    try {
      entry.prompt = await partialPrompt(audio, this.#options, abort.signal)
      if (entry.prompt === undefined && ending) ending.started = true
      else if (entry.prompt === undefined && audio.ending === undefined)
        audio.prefilled = Math.max(audio.prefilled, tokens)
    } catch {
      // The request that contains the audio fails in the same way, and reports the error.
      if (ending) ending.started = true
      audio.prefilled = Infinity
    }
    entry.preparing = false
    this.#options.notify()
  }

  #forget(audio: ArrivingAudio): void {
    const entry = this.#entries.find((other) => other.audio === audio)
    if (!entry) return
    this.#entries = this.#entries.filter((other) => other !== entry)
    const reason = new DOMException('The audio is no longer needed.', 'AbortError')
    entry.abort.abort(reason)
    const ended = entry.job?.cancel(reason).finally(() => this.#ending.delete(ended!))
    if (ended) this.#ending.add(ended)
    audio.drop()
  }

  /** Cancels work in progress to free its memory. Returns whether there was any. */
  async free(): Promise<boolean> {
    for (const { audio, job } of this.#entries) if (job) this.#forget(audio)
    if (this.#ending.size === 0) return false
    await Promise.allSettled(this.#ending)
    return true
  }

  #reclaim(bytes: number): void {
    let left = bytes
    for (const { audio } of this.#entries) {
      if (left <= 0) return
      left -= audio.bytes
      this.#forget(audio)
    }
  }
}
