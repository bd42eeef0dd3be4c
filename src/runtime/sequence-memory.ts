/**
 * Reserves memory for each request's next token, and preempts one request when all wait for memory.
 *
 * In: live requests. Out: those that can continue. A request without memory waits. When every request waits, the most
 * recent one whose caches can be recomputed is preempted, so the oldest one always completes.
 */

import { EngineError } from '../contract/index.ts'
import type { RequestTask } from './request-task.ts'
import { stageFailure } from './stage-failure.ts'

/** Returns the requests with memory for their next token. The others wait for memory. */
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
        // The reservation lost the cache's content: it is computed again.
        else if (sequence.length < length) task.preempt()
        else task.recordReservation(false)
      }
    }
  }
  return fit
}

/** Whether no admitted request can continue without more memory. */
export function allBlocked(active: readonly RequestTask[]): boolean {
  const live = admitted(active)
  const growing = live.some(({ shortOfMemory }) => shortOfMemory)
  return live.length > 0 && live.every((task) => isBlocked(task, growing))
}

/**
 * Frees memory when {@link allBlocked}: preempts one request, or ends one with an error if none can be recomputed.
 * `onFreed` is called when memory has been freed.
 */
export function preemptOne(active: readonly RequestTask[], onFreed: () => void): void {
  const live = admitted(active)
  const holders = live.filter(({ usesMemory }) => usesMemory)
  for (const task of holders.toReversed()) {
    const { speech } = task
    // A single request can release only its speech caches, for its text.
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

/** Decoded media are released when their request starts, so a prompt with media cannot be recomputed. */
function canRecompute({ prompt }: RequestTask): boolean {
  return prompt?.features.length === 0
}

/**
 * Whether the task can continue only with more memory. `growing`: a running request waits for memory, and has priority.
 */
function isBlocked(task: RequestTask, growing: boolean): boolean {
  const { phase, speech } = task
  // A cancelled request frees its memory in the next step. A slow reader's request continues when the reader does.
  if (!task.runnable) return false
  const speaks = speech !== undefined && !speech.finished
  if (phase === 'generated') return speaks && speech.onlyWaitsForMemory
  const waits = phase === 'prepared' ? task.waitsForMemory || growing : phase === 'decode' && task.waitsForMemory
  return waits && !(speaks && (speech.canWork || speech.decoding !== undefined))
}

/** Fails the request that has delivered least; of equals, the most recent. */
function failLeastServed(holders: readonly RequestTask[]): void {
  const [first] = holders
  if (!first) return
  if (holders.length === 1) {
    first.fail(
      new EngineError(
        'overloaded',
        `The memory for caches is too small for this request: it uses all of it after ${first.generated} tokens ` +
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

/** Seconds of audio sent, then tokens of text. */
function delivered({ speech, generated }: RequestTask): number {
  return (speech?.status.sentSeconds ?? 0) + generated * 1e-6
}
