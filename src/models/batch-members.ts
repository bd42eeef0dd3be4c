/** Isolates failures of one reply in a batch from the others, and lets replies without memory wait. */

import { EngineError } from '../contract/index.ts'
import type { StageSequence } from './stages.ts'
import type { SpeechBatchMember } from './speech.ts'

/** Runs work for some replies. A failure fails those that were active before it. */
export async function guarded(members: readonly SpeechBatchMember[], work: () => Promise<void>): Promise<void> {
  const active = members.filter((member) => !member.inactive)
  if (active.length === 0) return
  try {
    await work()
  } catch (error) {
    for (const member of active) member.fail(error)
  }
}

/**
 * Reserves memory for each reply in order, and returns those that got it. A reply without memory waits; any other error
 * fails only that reply.
 */
export async function withMemory<T extends { readonly member: SpeechBatchMember }>(
  items: readonly T[],
  reserve: (item: T) => Promise<void>,
): Promise<T[]> {
  const fit: T[] = []
  for (const item of items) {
    if (item.member.inactive) continue
    try {
      await reserve(item)
      fit.push(item)
    } catch (error) {
      if (error instanceof EngineError && error.code === 'overloaded') item.member.waitForMemory()
      else item.member.fail(error)
    }
  }
  return fit
}

/**
 * Reserves a talker's next rows. Rejects with `overloaded` when memory is short. If that lost the cache's content, it
 * is computed again later.
 */
export async function reserveRows(
  reply: { readonly options: { readonly sequence: StageSequence }; resetCache(): void },
  rows: number,
): Promise<void> {
  const { sequence } = reply.options
  const { length } = sequence
  try {
    await sequence.reserve(rows)
  } finally {
    if (sequence.length < length) reply.resetCache()
  }
}
