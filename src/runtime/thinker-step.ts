/**
 * One batched thinker step: a token for every reply being written, and a share of prompt for every request being read.
 *
 * In: runnable tasks in `prefill` or `decode`. Out: tasks advanced. Prompts are read in chunks: large when nobody
 * waits, small enough to fit the time that those who wait can spare (`step-plan.ts`) when somebody does.
 */

import type { ThinkerInput, ThinkerStage } from '../models/stages.ts'
import { positionsOf } from '../models/token-run.ts'
import type { RequestTask } from './request-task.ts'

const smallestChunk = 16
/** Before any speed is known, and nobody waits. */
const firstChunk = 256

/** Prompt tokens to read in the next step. Pure. */
export function prefillBudget(options: {
  /** The longest that the chunk may take. */
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

/** Splits a budget evenly over what prompts still need, the shortest first, at least one token each. Pure. */
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
  /** Prompt tokens read, 0 for a decode step. */
  readonly read: number
}

/** What hidden states are kept, besides those that a reply being spoken asks for. */
export interface HiddenWanted {
  /** Whether speech may come to read a row's hidden state, now or when the sequence is gone on from. */
  wants(task: RequestTask, row: number): boolean
}

/** Runs the step. Rejects as the stage does; the caller decides whose failure it is. Returns prompt tokens read. */
export async function thinkerStep(
  thinker: ThinkerStage,
  tasks: readonly RequestTask[],
  budget: number,
  signal: AbortSignal,
  hiddenWanted: HiddenWanted,
): Promise<number> {
  const reading = tasks.filter((task) => task.phase === 'prefill')
  const shares = sharePrefill(
    reading.map((task) => task.run!.tokenIds.length - task.processed),
    budget,
  )
  const entries: Entry[] = tasks.map((task) => {
    if (task.phase === 'decode') return { task, input: decodeInput(task, hiddenWanted), read: 0 }
    const read = shares[reading.indexOf(task)]!
    return { task, input: prefillInput(task, read, hiddenWanted), read }
  })
  const rows = tasks.map((task) => task.row)
  const outputs = await thinker.forward(
    entries.map(({ input }) => input),
    signal,
  )
  entries.forEach(({ task, read }, index) => {
    const { logits, hidden } = outputs[index]!
    if (hidden) task.takeHidden(rows[index]!, hidden, thinker.hiddenSize, (row) => hiddenWanted.wants(task, row))
    task.processed += read
    if (task.inactive || !logits) return
    task.features = undefined
    try {
      task.takeLogits(logits)
    } catch (error) {
      task.fail(error)
    }
  })
  return entries.reduce((sum, { read }) => sum + read, 0)
}

function decodeInput(task: RequestTask, hiddenWanted: HiddenWanted): ThinkerInput {
  const { row } = task
  const position = task.prompt!.nextPosition + task.generated - 1
  return {
    sequence: task.sequence!,
    tokenIds: Int32Array.of(task.lastId),
    positions: Float32Array.of(position, position, position),
    logits: 'last',
    hidden: wantsAny(task, row, row + 1, hiddenWanted),
  }
}

function prefillInput(task: RequestTask, count: number, hiddenWanted: HiddenWanted): ThinkerInput {
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
    hidden: wantsAny(task, from, until, hiddenWanted),
  }
}

function wantsAny(task: RequestTask, from: number, until: number, hiddenWanted: HiddenWanted): boolean {
  if (task.speech?.wantsHidden(from, until)) return true
  for (let row = from; row < until; row += 1) if (hiddenWanted.wants(task, row)) return true
  return false
}
