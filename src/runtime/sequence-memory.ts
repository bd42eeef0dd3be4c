/**
 * Which requests have memory for their next token, and which one yields when none has.
 *
 * In: requests that could go on, all live ones. Out: those that may. Growing asks the memory budget first.
 */

import { EngineError } from '../contract/index.ts'
import type { RequestTask } from './request-task.ts'
import { stageFailure } from './stage-failure.ts'

/**
 * Requests with memory for their next token. If none has, the last one yields its memory. `onFreed`: memory came back.
 */
export async function withMemory(
  tasks: readonly RequestTask[],
  active: readonly RequestTask[],
  onFreed: () => void,
): Promise<RequestTask[]> {
  const fit: RequestTask[] = []
  for (const task of tasks) {
    const sequence = task.sequence!
    if (task.phase === 'prefill' || sequence.length < sequence.reserved) fit.push(task)
    else if (!task.starved) {
      try {
        await sequence.reserve(sequence.length + 1)
        fit.push(task)
      } catch (error) {
        if (error instanceof EngineError && error.code === 'overloaded') task.starved = true
        else task.fail(stageFailure(error))
      }
    }
  }
  const holders = active.filter((task) => task.holdsMemory && task.phase !== 'over')
  if (fit.length > 0 || tasks.length === 0 || !holders.every(({ starved }) => starved)) return fit
  // Media cannot be read again once their request has started, so what was made of them is not given up.
  const last = holders.findLast(({ prompt }) => prompt?.features.length === 0)
  // One that gave up its sequence before has only its speech's memory left, which it does not give up.
  if (last?.sequence && holders.length > 1) {
    last.yieldMemory()
    onFreed()
    last.starved = true
    return fit
  }
  const failed = holders.at(-1)
  failed?.fail(
    new EngineError(
      'overloaded',
      `The memory for caches is full after ${failed.generated} tokens of this reply; ask for fewer max_tokens, or try again later.`,
    ),
  )
  onFreed()
  return fit
}
