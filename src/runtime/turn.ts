/**
 * One turn of the loop: a piece of one encoder job, one batched thinker step, one batched step of the family's speech.
 *
 * In: the live requests. Out: each a step further, but for those whose speech yields to others (`fair-turns.ts`).
 * Stage calls never overlap, the vocoder's apart; nothing that a request holds is released in the middle of a step.
 */

import type { OmniModel } from '../models/stages.ts'
import type { PromptFeature } from '../prompt/prepared-prompt.ts'
import { whenAllAborted } from './abort.ts'
import { encodePiece } from './encoder-step.ts'
import { shareTurn } from './fair-turns.ts'
import { allWait, makeRoom, withMemory } from './sequence-memory.ts'
import type { Clock } from './request-metrics.ts'
import type { RequestTask } from './request-task.ts'
import { mediaSetOf, type SequencePool } from './sequence-pool.ts'
import { stageFailure } from './stage-failure.ts'
import { type HiddenWanted, prefillBudget, thinkerStep } from './thinker-step.ts'

/** Milliseconds that speech prompts and arriving audio may prefill for beside others. */
const LONGEST_SPEECH_PROMPT = 250

export interface TurnsOptions {
  readonly model: OmniModel
  readonly pool: SequencePool
  readonly clock: Clock
  /** Prompt tokens of a step when nobody waits. */
  readonly prefillTokens: number
  /** Sees what an encoder has read. */
  readonly onEncoded: (task: RequestTask, feature: PromptFeature) => void
  /** Memory came back: whoever starved may try again. */
  readonly onFreed: () => void
  /** Frees memory of work that no request waits for. Returns whether there was any. */
  readonly freeAhead: () => Promise<boolean>
}

export class Turns {
  readonly #options: TurnsOptions
  #millisecondsPerToken: number | undefined

  constructor(options: TurnsOptions) {
    this.#options = options
  }

  /** Takes everybody's turn. Returns whether anything could go on. */
  async take(active: readonly RequestTask[]): Promise<boolean> {
    const { freeAhead, onFreed } = this.#options
    const { yields, chunkMilliseconds } = shareTurn(
      active.map(({ standing }) => standing),
      this.#options.clock(),
    )
    for (const [i, { speech }] of active.entries()) if (speech) speech.yielded = yields[i] === true
    const encoded = await this.#encode(active)
    const written = await this.#writeText(active, chunkMilliseconds)
    const spoken = await this.#speak(active, chunkMilliseconds)
    if (encoded || written || spoken) return true
    // Those whom it yielded to could not go on after all.
    for (const { speech } of active) if (speech) speech.yielded = false
    if ((await this.#speak(active, Infinity)) || active.some((task) => task.phase !== 'over' && isComplete(task)))
      return true
    if (!allWait(active)) return false
    if (await freeAhead()) return true
    makeRoom(active, onFreed)
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

  async #writeText(active: readonly RequestTask[], milliseconds: number): Promise<boolean> {
    const { model, clock } = this.#options
    const runnable = active.filter((task) => task.runnable && (task.phase === 'prefill' || task.phase === 'decode'))
    const tasks = await withMemory(runnable)
    if (tasks.length === 0) return false
    const reading = tasks.some((task) => task.phase === 'prefill')
    using batch = whenAllAborted(tasks.map((task) => task.signal))
    const started = clock()
    try {
      const budget = this.#rows(milliseconds)
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
    return this.#rows(othersWait ? LONGEST_SPEECH_PROMPT : Infinity)
  }

  /** Rows of prompt that take so long at the speed last measured. */
  #rows(milliseconds: number): number {
    const { prefillTokens: largest } = this.#options
    return prefillBudget({ milliseconds, millisecondsPerToken: this.#millisecondsPerToken, largest })
  }

  async #speak(active: readonly RequestTask[], milliseconds: number): Promise<boolean> {
    const pipeline = this.#options.model.speech
    const tasks = active.filter((task) => task.runnable && task.speech?.canWork && !task.speech.yielded)
    if (tasks.length === 0 || !pipeline) return false
    for (const task of tasks) task.speech?.decode()
    const advancing = tasks.filter((task) => task.speech?.canAdvance)
    if (advancing.length === 0) return true
    using batch = whenAllAborted(advancing.map((task) => task.signal))
    const turns = advancing.map((task) => task.speech!)
    for (const turn of turns) turn.asks()
    const waited = active.length > 1 ? Math.min(milliseconds, LONGEST_SPEECH_PROMPT) : Infinity
    try {
      await pipeline.advance(turns, { prefillRows: this.#rows(waited), signal: batch.signal })
    } catch (error) {
      for (const turn of turns) turn.fail(error)
    }
    return true
  }
}

function isComplete(task: RequestTask): boolean {
  return task.signal.aborted || (task.phase === 'generated' && (task.speech?.finished ?? true))
}
