/**
 * One step of the loop: a piece of one encoder job, one batched thinker step, one batched speech step.
 *
 * In: the live requests. Out: each has advanced, except speech that pauses (`step-plan.ts`). Stage calls do not
 * overlap, except the vocoder's. Nothing that a request owns is released in the middle of a step.
 */

import type { OmniModel } from '../models/stages.ts'
import type { PromptFeature } from '../prompt/prepared-prompt.ts'
import { whenAllAborted } from './abort.ts'
import { encodePiece } from './encoder-step.ts'
import { planStep } from './step-plan.ts'
import { allBlocked, preemptOne, reserveNextToken } from './sequence-memory.ts'
import type { Clock } from './request-metrics.ts'
import type { RequestTask } from './request-task.ts'
import { mediaSetOf, type SequencePool } from './sequence-pool.ts'
import { stageFailure } from './stage-failure.ts'
import { type HiddenFilter, prefillBudget, thinkerStep } from './thinker-step.ts'

/** Longest prefill of a talker or of arriving audio while other requests are active, milliseconds. */
const MAX_SHARED_PREFILL_MS = 250

export interface SchedulerOptions {
  readonly model: OmniModel
  readonly pool: SequencePool
  readonly clock: Clock
  /** Prompt tokens of a step while no other request waits. */
  readonly prefillTokens: number
  /** Called with each feature that has been encoded. */
  readonly onEncoded: (task: RequestTask, feature: PromptFeature) => void
  /** Called when memory was freed: requests that wait for memory may try again. */
  readonly onFreed: () => void
  /** Cancels work ahead of requests, to free its memory. Returns whether there was any. */
  readonly freeAhead: () => Promise<boolean>
}

export class Scheduler {
  readonly #options: SchedulerOptions
  #millisecondsPerToken: number | undefined

  constructor(options: SchedulerOptions) {
    this.#options = options
  }

  /** Runs one step. Returns whether any request advanced. */
  async step(active: readonly RequestTask[]): Promise<boolean> {
    const { freeAhead, onFreed } = this.#options
    const { pauseSpeech, maxChunkMs } = planStep(
      active.map(({ status }) => status),
      this.#options.clock(),
    )
    for (const [i, { speech }] of active.entries()) if (speech) speech.paused = pauseSpeech[i] === true
    const encoded = await this.#encode(active)
    const decoded = await this.#runThinker(active, maxChunkMs)
    const spoken = await this.#advanceSpeech(active, maxChunkMs)
    if (encoded || decoded || spoken) return true
    // The requests that speech paused for could not advance, so it resumes.
    for (const { speech } of active) if (speech) speech.paused = false
    if ((await this.#advanceSpeech(active, Infinity)) || active.some((task) => task.phase !== 'over' && canEnd(task)))
      return true
    if (!allBlocked(active)) return false
    if (await freeAhead()) return true
    preemptOne(active, onFreed)
    return true
  }

  #encode(active: readonly RequestTask[]): Promise<boolean> {
    const { model, pool, onEncoded } = this.#options
    return encodePiece(active, model, (task, { feature }, medium) => {
      onEncoded(task, feature)
      const { cacheScope } = task.request
      const key = pool.keyOf(feature, task.prompt!)
      if (cacheScope !== undefined && key !== undefined) pool.encoded.put(cacheScope, key, medium)
    })
  }

  async #runThinker(active: readonly RequestTask[], milliseconds: number): Promise<boolean> {
    const { model, clock } = this.#options
    const runnable = active.filter((task) => task.runnable && (task.phase === 'prefill' || task.phase === 'decode'))
    const tasks = await reserveNextToken(runnable)
    if (tasks.length === 0) return false
    const prefilling = tasks.some((task) => task.phase === 'prefill')
    using batch = whenAllAborted(tasks.map((task) => task.signal))
    const started = clock()
    try {
      const budget = this.#promptRowsFor(milliseconds)
      const prefilled = await thinkerStep(model.thinker, tasks, budget, batch.signal, this.#hiddenFilter)
      if (prefilling && prefilled > 0) this.#millisecondsPerToken = (clock() - started) / prefilled
    } catch (error) {
      for (const task of tasks) task.fail(task.signal.aborted ? task.signal.reason : stageFailure(error))
    }
    return true
  }

  readonly #hiddenFilter: HiddenFilter = {
    needs: (task, row) =>
      task.request.cacheScope !== undefined && this.#options.pool.needsHidden(row, mediaSetOf(task.media)),
  }

  /** Prompt rows for one step outside the thinker's batch: fewer when other requests wait. */
  promptRows(othersWait: boolean): number {
    return this.#promptRowsFor(othersWait ? MAX_SHARED_PREFILL_MS : Infinity)
  }

  /** Prompt rows that fit a time at the speed last measured. */
  #promptRowsFor(milliseconds: number): number {
    const { prefillTokens: largest } = this.#options
    return prefillBudget({ milliseconds, millisecondsPerToken: this.#millisecondsPerToken, largest })
  }

  async #advanceSpeech(active: readonly RequestTask[], milliseconds: number): Promise<boolean> {
    const pipeline = this.#options.model.speech
    const tasks = active.filter((task) => task.runnable && task.speech?.canWork && !task.speech.paused)
    if (tasks.length === 0 || !pipeline) return false
    for (const task of tasks) task.speech?.decode()
    const advancing = tasks.filter((task) => task.speech?.canAdvance)
    if (advancing.length === 0) return true
    using batch = whenAllAborted(advancing.map((task) => task.signal))
    const members = advancing.map((task) => task.speech!)
    for (const member of members) member.startStep()
    const waited = active.length > 1 ? Math.min(milliseconds, MAX_SHARED_PREFILL_MS) : Infinity
    try {
      await pipeline.advance(members, { prefillRows: this.#promptRowsFor(waited), signal: batch.signal })
    } catch (error) {
      for (const member of members) member.fail(error)
    }
    return true
  }
}

function canEnd(task: RequestTask): boolean {
  return task.signal.aborted || (task.phase === 'generated' && (task.speech?.finished ?? true))
}
