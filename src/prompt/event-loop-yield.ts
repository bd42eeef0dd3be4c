/**
 * Yields to the event loop during long computations.
 *
 * In: an abort signal, a time slice in milliseconds. Out: a function to await between pieces of work. It yields only
 * when the time slice has passed.
 */

import { setImmediate } from 'node:timers/promises'

/** Returns a function to await between rows or frames. It rejects with the signal's reason once aborted. */
export function createYield(signal?: AbortSignal, slice = 8): () => Promise<void> | undefined {
  let last = performance.now()
  async function pause(): Promise<void> {
    await setImmediate()
    signal?.throwIfAborted()
    last = performance.now()
  }
  return () => (performance.now() - last < slice ? undefined : pause())
}
