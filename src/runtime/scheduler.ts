/**
 * One turn of the loop: a piece of one encoder job, one batched thinker step, one batched step of the family's speech.
 *
 * In: the live requests. Out: each a step further, but for those whose speech pauseSpeech to others (`step-plan.ts`).
 * Stage calls never overlap, the vocoder's apart; nothing that a request holds is released in the middle of a step.
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
import { type HiddenWanted, prefillBudget, thinkerStep } from './thinker-step.ts'

/** Milliseconds that speech prompts and arriving audio may prefill for beside others. */
const MAX_SHARED_PREFILL_MS = 250

export interface SchedulerOptions {
  readonly model: OmniModel
  readonly pool: SequencePool
  readonly clock: Clock
  /** Prompt tokens of a step when nobody waits. */
  readonly prefillTokens: number
  /** Sees what an encoder has read. */
  readonly onEncoded: (task: RequestTask, feature: PromptFeature) => void
  /** Memory came back: whoever waitsForMemory may try again. */
  readonly onFreed: () => void
  /** Frees memory of work that no request waits for. Returns whether there was any. */
  readonly freeAhead: () => Promise<boolean>
}

export class Scheduler {
  readonly #options: SchedulerOptions
  #millisecondsPerToken: number | undefined

  constructor(options: SchedulerOptions) {
    this.#options = options
  }

  /** Takes everybody's turn. Returns whether anything could go on. */
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
    // Those whom it paused to could not go on after all.
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
    const reading = tasks.some((task) => task.phase === 'prefill')
    using batch = whenAllAborted(tasks.map((task) => task.signal))
    const started = clock()
    try {
      const budget = this.#promptRowsFor(milliseconds)
      const read = await thinkerStep(model.thinker, tasks, budget, batch.signal, this.#hiddenWanted)
      if (reading && read > 0) this.#millisecondsPerToken = (clock() - started) / read
    } catch (error) {
      for (const task of tasks) task.fail(task.signal.aborted ? task.signal.reason : stageFailure(error))
    }
    return true
  }

  readonly #hiddenWanted: HiddenWanted = {
    wants: (task, row) =>
      task.request.cacheScope !== undefined && this.#options.pool.wantsHidden(row, mediaSetOf(task.media)),
  }

  /** Rows of prompt for one step of something else; few when others wait. */
  promptRows(othersWait: boolean): number {
    return this.#promptRowsFor(othersWait ? MAX_SHARED_PREFILL_MS : Infinity)
  }

  /** Rows of prompt that take so long at the speed last measured. */
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
