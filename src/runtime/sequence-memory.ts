/**
 * Which requests have memory for their next token, and which one yields when all wait for memory.
 *
 * In: live requests. Out: those that may go on. Growing asks the memory budget first; who finds none waits. When every
 * request waits, the last one gives up what can be computed again, so the first always ends.
 */

import { EngineError } from '../contract/index.ts'
import type { RequestTask } from './request-task.ts'
import { stageFailure } from './stage-failure.ts'

/** Requests with memory for their next token; the others wait for some. */
export async function reserveNextToken(tasks: readonly RequestTask[]): Promise<RequestTask[]> {
  const fit: RequestTask[] = []
  for (const task of tasks) {
    const sequence = task.sequence!
    if (task.phase === 'prefill' || sequence.length < sequence.reserved) fit.push(task)
    else if (!task.waitsForMemory) {
      const { length } = sequence
      try {
        await sequence.reserve(length + 1)
        task.recordReservation(true)
        fit.push(task)
      } catch (error) {
        const short = error instanceof EngineError && error.code === 'overloaded'
        if (!short || (sequence.length < length && !canRecompute(task))) task.fail(stageFailure(error))
        // A cache that was lost is computed again.
        else if (sequence.length < length) task.preempt()
        else task.recordReservation(false)
      }
    }
  }
  return fit
}

/** Whether all that hold memory, or had some, can go on only with more. */
export function allBlocked(active: readonly RequestTask[]): boolean {
  const live = admitted(active)
  const growing = live.some(({ shortOfMemory }) => shortOfMemory)
  return live.length > 0 && live.every((task) => isBlocked(task, growing))
}

/**
 * Makes room when {@link allBlocked}: one yields what can be computed again, or, if nobody can, one ends with an error.
 * `onFreed`: memory came back.
 */
export function preemptOne(active: readonly RequestTask[], onFreed: () => void): void {
  const live = admitted(active)
  const holders = live.filter(({ usesMemory }) => usesMemory)
  for (const task of holders.toReversed()) {
    const { speech } = task
    // Alone, only its speech can give way to its text.
    if (holders.length > 1 && task.sequence && canRecompute(task)) {
      task.preempt()
      onFreed()
      task.waitsForMemory = true
      return
    }
    if ((holders.length > 1 || task.sequence) && speech?.preempt()) {
      onFreed()
      speech.waitsForMemory = true
      return
    }
  }
  failLeastServed(holders.length > 0 ? holders : live)
  onFreed()
}

function admitted(active: readonly RequestTask[]): RequestTask[] {
  return active.filter((task) => task.phase !== 'over' && (task.usesMemory || task.shortOfMemory))
}

/** Media cannot be read again once their request has started. */
function canRecompute({ prompt }: RequestTask): boolean {
  return prompt?.features.length === 0
}

/** Whether only freed memory lets it go on. `growing`: somebody with a place waits to grow, and comes before it. */
function isBlocked(task: RequestTask, growing: boolean): boolean {
  const { phase, speech } = task
  // A request that is given up frees its memory in the next turn, and one whose reader is slow goes on with it.
  if (!task.runnable) return false
  const speaks = speech !== undefined && !speech.finished
  if (phase === 'generated') return speaks && speech.onlyWaitsForMemory
  const waits = phase === 'prepared' ? task.waitsForMemory || growing : phase === 'decode' && task.waitsForMemory
  return waits && !(speaks && (speech.canWork || speech.decoding !== undefined))
}

/** The one that has said least, the last of those. */
function failLeastServed(holders: readonly RequestTask[]): void {
  const [first] = holders
  if (!first) return
  if (holders.length === 1) {
    first.fail(
      new EngineError(
        'overloaded',
        `The memory for caches is too small for this request: it holds all of it after ${first.generated} tokens ` +
          'of the reply. Shorten the messages, ask for fewer max_tokens, or give the server a larger --cache-memory.',
        { retryable: false },
      ),
    )
    return
  }
  const least = holders.reduce((one, other) => (delivered(other) <= delivered(one) ? other : one))
  least.fail(
    new EngineError(
      'overloaded',
      `The memory for caches is full after ${least.generated} tokens of this reply; ask for fewer max_tokens, or try again later.`,
    ),
  )
}

/** Seconds of audio sent; less than any of them, tokens of text. */
function delivered({ speech, generated }: RequestTask): number {
  return (speech?.status.sentSeconds ?? 0) + generated * 1e-6
}
