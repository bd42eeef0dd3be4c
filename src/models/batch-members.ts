/** Isolates one reply's failure from the others in a family's pipeline, and lets those without memory wait. */

import { EngineError } from '../contract/index.ts'
import type { StageSequence } from './stages.ts'
import type { SpeechBatchMember } from './speech.ts'

/** Runs work for some replies; when it fails, they fail, unless they have been cancelled meanwhile. */
export async function guarded(members: readonly SpeechBatchMember[], work: () => Promise<void>): Promise<void> {
  const wanted = members.filter((member) => !member.inactive)
  if (wanted.length === 0) return
  try {
    await work()
  } catch (error) {
    for (const member of wanted) member.fail(error)
  }
}

/**
 * Those of some replies that `reserve` found memory for, one after the other. A reply without memory waits; one that
 * fails otherwise fails alone.
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
 * Reserves a talker's next rows. Rejects with `overloaded` when memory is short; a cache that was lost then is computed
 * again.
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
