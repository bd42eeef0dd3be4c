/**
 * All audio that is arriving: a piece of work for one of them a turn, while no request waits to be read.
 *
 * In: samples, from whoever opens an audio. Out: features of complete audio, for the requests that name it. What is
 * held gives way before a live request is refused memory; the audio is then encoded at once, with its request.
 */

import { EngineError, type GenerationRequest } from '../contract/index.ts'
import type { MemoryBudget } from '../models/memory-budget.ts'
import type { AudioFeatureConfig } from '../prompt/log-mel.ts'
import type { AudioFeature, PreparedPrompt, PromptFeature } from '../prompt/prepared-prompt.ts'
import { ArrivingAudio } from './arriving-audio.ts'
import { EncoderJob, type Pause } from './encoder-job.ts'
import { type PrefillTools, prefillAhead, type PromptSoFar, promptSoFar } from './prefill-ahead.ts'

/** Frames of the spectrogram that one turn computes. */
const FRAMES_AT_ONCE = 64
/** Frames without a louder one after which what the floor changed is made again. */
const CALM_FRAMES = 100

/** An audio that a request will name, as its sender sees it. */
export interface OpenAudio extends Disposable {
  /** The next samples, in [-1, 1], at the checkpoint's rate. */
  append(samples: Float32Array): void
  /** There may be no more but so many samples of silence; requests then name it so. */
  mayEnd(silence: number, contentKey: string): void
  /** There are no more; requests name it so. */
  complete(contentKey: string): void
}

interface ArrivingAudiosOptions extends PrefillTools {
  readonly features: AudioFeatureConfig | undefined
  readonly budget: MemoryBudget | undefined
  /** There is something to do. */
  readonly notify: () => void
}

interface Entry {
  readonly audio: ArrivingAudio
  readonly abort: AbortController
  job: EncoderJob<'done'> | undefined
  /** Its prompt is being made. */
  preparing: boolean
  prompt: PromptSoFar | undefined
}

export class ArrivingAudios implements Disposable {
  readonly #options: ArrivingAudiosOptions
  /** The one that worked last is the last. */
  #entries: Entry[] = []
  #number = 0
  /** Work that was given up and still has to free its memory. */
  readonly #ending = new Set<Promise<void>>()

  constructor(options: ArrivingAudiosOptions) {
    this.#options = options
    options.budget?.addReclaim((bytes) => this.#reclaim(bytes))
  }

  get size(): number {
    return this.#entries.length
  }

  get busy(): boolean {
    return this.#entries.some(({ job, preparing }) => job !== undefined || preparing)
  }

  /** Undefined where the encoder works on whole audio only. */
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

  /** What was kept of an end that it turned out not to have goes. */
  #change(audio: ArrivingAudio, change: () => void): void {
    const { ending } = audio
    change()
    const { cacheScope } = audio.options.request
    if (ending?.encodedAs !== undefined && audio.ending !== ending && cacheScope !== undefined)
      this.#options.pool.encoded.forget(cacheScope, ending.encodedAs)
  }

  /** One piece of work, if there is any. */
  async turn(): Promise<boolean> {
    for (const entry of this.#entries) {
      if (entry.audio.contentKey !== undefined || !(entry.job || this.#nextOf(entry))) continue
      this.#entries = [...this.#entries.filter((other) => other !== entry), entry]
      await this.#turn(entry)
      return true
    }
    return false
  }

  async #turn(entry: Entry): Promise<void> {
    try {
      entry.job ??= new EncoderJob((pause) => this.#work(entry, pause))
      if ((await entry.job.turn()) === 'done') entry.job = undefined
    } catch {
      // Its request meets the same fault, and reports it.
      this.#forget(entry.audio)
    }
  }

  /** A prompt whose audio that arrived is taken from here. What was prefilled for it can be found from then on. */
  async settle(
    prompt: PreparedPrompt,
    scope: string | undefined,
    keyOf: (feature: PromptFeature) => string | undefined,
  ): Promise<PreparedPrompt> {
    if (this.#entries.length === 0) return prompt
    const features: PromptFeature[] = []
    for (const feature of prompt.features) {
      const entry = this.#find(feature, scope)
      const settled = entry && (await this.#settle(entry, feature as AudioFeature, keyOf(feature)))
      features.push(settled ?? feature)
    }
    return { ...prompt, features }
  }

  /** Its encoder's output is kept elsewhere now. */
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

  async #settle(entry: Entry, feature: AudioFeature, key: string | undefined): Promise<AudioFeature | undefined> {
    const { audio, job } = entry
    entry.job = undefined
    await job?.cancel(new DOMException('The audio is complete.', 'AbortError'))
    while (audio.levels.advance(FRAMES_AT_ONCE)) await new Promise<void>((resolve) => void setImmediate(resolve))
    if (audio.dropped) return undefined
    const settled = audio.settle(feature, key)
    if (audio.ending?.encodedAs !== undefined) this.#forget(audio)
    return settled
  }

  async #work(entry: Entry, pause: Pause): Promise<'done'> {
    for (let next = this.#nextOf(entry); next !== undefined; next = this.#nextOf(entry)) {
      await next(pause)
      await pause()
    }
    return 'done'
  }

  /** What is to be done first for an audio. */
  #nextOf(entry: Entry): ((pause: Pause) => Promise<void>) | undefined {
    const { audio, abort, prompt } = entry
    const { levels, ending } = audio
    const { signal } = abort
    if (audio.dropped) return undefined
    if (levels.behind)
      return async () => {
        levels.advance(FRAMES_AT_ONCE)
      }
    const { stale } = audio
    if (stale && (ending || levels.frames - levels.loudestAt >= CALM_FRAMES)) return () => audio.encode(stale, signal)
    const { next } = audio
    if (next) return () => audio.encode(next, signal)
    const idle = ending
      ? ending.begun
      : !audio.options.prefills || stale || audio.tokensOver(levels.floor) <= audio.prefilled
    if (idle) return undefined
    if (prompt === undefined || prompt.ending !== ending) {
      if (!entry.preparing) void this.#prepare(entry)
      return undefined
    }
    return async (pause) => {
      entry.prompt = undefined
      if (ending) ending.begun = true
      try {
        await prefillAhead(audio, prompt, this.#options, pause, signal)
      } catch (error) {
        if (ending?.abort.signal.aborted !== true && !(error instanceof EngineError && error.code === 'overloaded'))
          throw error
      }
      // Without memory it is tried again only when some is freed.
      if (!ending && audio.tokensOver(levels.floor) >= prompt.tokens)
        audio.prefilled = Math.max(audio.prefilled, prompt.tokens)
    }
  }

  /** Makes the prompt so far, beside the loop. */
  async #prepare(entry: Entry): Promise<void> {
    const { audio, abort } = entry
    entry.preparing = true
    const { ending } = audio
    const tokens = audio.tokensOver(audio.levels.floor)
    try {
      entry.prompt = await promptSoFar(audio, this.#options, abort.signal)
      if (entry.prompt === undefined && ending) ending.begun = true
      else if (entry.prompt === undefined && audio.ending === undefined)
        audio.prefilled = Math.max(audio.prefilled, tokens)
    } catch {
      // Its request meets the same fault, and reports it.
      if (ending) ending.begun = true
      audio.prefilled = Infinity
    }
    entry.preparing = false
    this.#options.notify()
  }

  #forget(audio: ArrivingAudio): void {
    const entry = this.#entries.find((other) => other.audio === audio)
    if (!entry) return
    this.#entries = this.#entries.filter((other) => other !== entry)
    const reason = new DOMException('The audio is not wanted any more.', 'AbortError')
    entry.abort.abort(reason)
    const ended = entry.job?.cancel(reason).finally(() => this.#ending.delete(ended!))
    if (ended) this.#ending.add(ended)
    audio.drop()
  }

  /** Frees memory of work in progress, which is then done with its request. Returns whether there was any. */
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
