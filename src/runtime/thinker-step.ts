/**
 * One batched thinker step: a token for every reply being written, and a share of prompt for every request being read.
 *
 * In: runnable tasks in `prefill` or `decode`. Out: tasks advanced. Prompts are read in chunks: large when nobody waits, small enough
 * to fit {@link stepMilliseconds} when somebody does.
 */

import type { ThinkerInput, ThinkerStage } from '../models/stages.ts'
import type { RequestTask } from './request-task.ts'

/** The longest that a prompt chunk should keep others waiting. */
const stepMilliseconds = 250
const smallestChunk = 16

/** Prompt tokens to read in the next step. Pure. */
export function prefillBudget(options: {
  /** Whether anyone but the prompts being read waits for this step. */
  readonly othersWait: boolean
  /** Measured speed, or undefined before the first chunk. */
  readonly millisecondsPerToken: number | undefined
  readonly largest: number
}): number {
  const { othersWait, millisecondsPerToken, largest } = options
  if (!othersWait) return largest
  if (millisecondsPerToken === undefined) return Math.min(largest, smallestChunk)
  const fitting = stepMilliseconds / millisecondsPerToken
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

/** Runs the step. Rejects as the stage does; the caller decides whose failure it is. Returns prompt tokens read. */
export async function thinkerStep(
  thinker: ThinkerStage,
  tasks: readonly RequestTask[],
  budget: number,
  signal: AbortSignal,
): Promise<number> {
  const reading = tasks.filter((task) => task.phase === 'prefill')
  const shares = sharePrefill(
    reading.map((task) => task.prompt!.tokenIds.length - task.processed),
    budget,
  )
  const entries: Entry[] = tasks.map((task) => {
    if (task.phase === 'decode') return { task, input: decodeInput(task), read: 0 }
    const read = shares[reading.indexOf(task)]!
    return { task, input: prefillInput(task, read), read }
  })
  const outputs = await thinker.forward(
    entries.map(({ input }) => input),
    signal,
  )
  entries.forEach(({ task, read }, index) => {
    const { logits, hidden } = outputs[index]!
    if (hidden) task.speech?.takeHidden(firstRow(task), hidden)
    task.processed += read
    if (task.gone || !logits) return
    task.features = undefined
    try {
      task.takeLogits(logits)
    } catch (error) {
      task.fail(error)
    }
  })
  return entries.reduce((sum, { read }) => sum + read, 0)
}

/** Row, in the thinker's sequence, of the first token that the next step runs. */
function firstRow(task: RequestTask): number {
  return task.phase === 'decode' ? task.prompt!.tokenIds.length + task.generated - 1 : task.processed
}

function decodeInput(task: RequestTask): ThinkerInput {
  const row = firstRow(task)
  const position = task.prompt!.nextPosition + task.generated - 1
  return {
    sequence: task.resources.sequence,
    tokenIds: Int32Array.of(task.lastId),
    positions: Float32Array.of(position, position, position),
    logits: 'last',
    hidden: task.speech?.wantsHidden(row, row + 1) ?? false,
  }
}

function prefillInput(task: RequestTask, count: number): ThinkerInput {
  const { tokenIds, positions } = task.prompt!
  const from = task.processed
  const until = from + count
  const chunk = new Float32Array(3 * count)
  for (let axis = 0; axis < 3; axis += 1)
    chunk.set(positions.subarray(axis * tokenIds.length + from, axis * tokenIds.length + until), axis * count)
  const features = task.features?.slice(from, until)
  return {
    sequence: task.resources.sequence,
    tokenIds: tokenIds.slice(from, until),
    positions: chunk,
    ...(features && { features }),
    logits: until === tokenIds.length ? 'last' : 'none',
    hidden: task.speech?.wantsHidden(from, until) ?? false,
  }
}
