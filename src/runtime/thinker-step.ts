/**
 * One batched thinker step: one token for each request in `decode`, and a chunk of prompt for each in `prefill`.
 *
 * In: runnable tasks. Out: the same tasks, advanced. Chunks are large while no other request waits, and otherwise small
 * enough for the time limit of the step plan (`step-plan.ts`).
 */

import type { ThinkerInput, ThinkerStage } from '../models/stages.ts'
import { positionsOf } from '../models/token-run.ts'
import type { RequestTask } from './request-task.ts'

const smallestChunk = 16
/** Tokens of the first chunk, before a speed is known, while no other request waits. */
const firstChunk = 256

/** Prompt tokens to prefill in the next step: a power of two. Pure. */
export function prefillBudget(options: {
  /** Longest time that the chunk may take. */
  readonly milliseconds: number
  /** Measured speed, or undefined before the first chunk. */
  readonly millisecondsPerToken: number | undefined
  readonly largest: number
}): number {
  const { milliseconds, millisecondsPerToken, largest } = options
  if (millisecondsPerToken === undefined) return Math.min(largest, milliseconds > 1000 ? firstChunk : smallestChunk)
  const fitting = milliseconds / millisecondsPerToken
  const power = 2 ** Math.floor(Math.log2(Math.max(smallestChunk, fitting)))
  return Math.min(largest, power)
}

/** Splits a token budget evenly over the remaining prompts, shortest first, at least one token each. Pure. */
export function sharePrefill(remaining: readonly number[], budget: number): number[] {
  const order = remaining.map((_, index) => index).toSorted((left, right) => remaining[left]! - remaining[right]!)
  const shares = remaining.map(() => 0)
  let left = budget
  order.forEach((index, rank) => {
    const share = Math.min(remaining[index]!, Math.max(1, Math.floor(left / (order.length - rank))))
    shares[index] = share
    left -= share
  })
  return shares
}

interface Entry {
  readonly task: RequestTask
  readonly input: ThinkerInput
  /** Prompt tokens in this step, 0 for a decode step. */
  readonly prefilled: number
}

/** Selects the hidden states to retain, besides those that a reply with speech uses now. */
export interface HiddenFilter {
  /** Whether speech may need a row's hidden state, now or when the sequence is reused. */
  needs(task: RequestTask, row: number): boolean
}

/** Runs the step. Returns the prompt tokens prefilled. Rejects as the stage does, for all tasks of the step. */
export async function thinkerStep(
  thinker: ThinkerStage,
  tasks: readonly RequestTask[],
  budget: number,
  signal: AbortSignal,
  hiddenFilter: HiddenFilter,
): Promise<number> {
  const prefilling = tasks.filter((task) => task.phase === 'prefill')
  const shares = sharePrefill(
    prefilling.map((task) => task.run!.tokenIds.length - task.processed),
    budget,
  )
  const entries: Entry[] = tasks.map((task) => {
    const logitsInto = task.logitsArray(thinker.vocabSize)
    if (task.phase === 'decode')
      return { task, input: { ...decodeInput(task, hiddenFilter), logitsInto }, prefilled: 0 }
    const prefilled = shares[prefilling.indexOf(task)]!
    return { task, input: { ...prefillInput(task, prefilled, hiddenFilter), logitsInto }, prefilled }
  })
  const rows = tasks.map((task) => task.row)
  const outputs = await thinker.forward(
    entries.map(({ input }) => input),
    signal,
  )
  entries.forEach(({ task, prefilled }, index) => {
    const { logits, hidden } = outputs[index]!
    if (hidden) task.takeHidden(rows[index]!, hidden, thinker.hiddenSize, (row) => hiddenFilter.needs(task, row))
    task.processed += prefilled
    if (task.inactive || !logits) return
    task.features = undefined
    try {
      task.takeLogits(logits)
    } catch (error) {
      task.fail(error)
    }
  })
  return entries.reduce((sum, { prefilled }) => sum + prefilled, 0)
}

function decodeInput(task: RequestTask, hiddenFilter: HiddenFilter): ThinkerInput {
  const { row } = task
  const position = task.prompt!.nextPosition + task.generated - 1
  return {
    sequence: task.sequence!,
    tokenIds: Int32Array.of(task.lastId),
    positions: Float32Array.of(position, position, position),
    logits: 'last',
    hidden: needsAny(task, row, row + 1, hiddenFilter),
  }
}

function prefillInput(task: RequestTask, count: number, hiddenFilter: HiddenFilter): ThinkerInput {
  const { tokenIds, positions } = task.run!
  const from = task.processed
  const until = from + count
  const features = task.features?.slice(from, until)
  return {
    sequence: task.sequence!,
    tokenIds: tokenIds.slice(from, until),
    positions: positionsOf(positions, from, until),
    ...(features && { features }),
    logits: until === tokenIds.length ? 'last' : 'none',
    hidden: needsAny(task, from, until, hiddenFilter),
  }
}

function needsAny(task: RequestTask, from: number, until: number, hiddenFilter: HiddenFilter): boolean {
  if (task.speech?.needsHidden(from, until)) return true
  for (let row = from; row < until; row += 1) if (hiddenFilter.needs(task, row)) return true
  return false
}
