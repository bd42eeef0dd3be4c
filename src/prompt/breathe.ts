/**
 * Lets the event loop run during long computations: `await breathe()` costs nothing until `slice` milliseconds
 * have passed, then yields once and checks the signal.
 */

import { setImmediate } from 'node:timers/promises'

/** Returns a function to await between rows or frames. It throws the signal's reason once aborted. */
export function createBreather(signal?: AbortSignal, slice = 8): () => Promise<void> | undefined {
  let last = performance.now()
  async function pause(): Promise<void> {
    await setImmediate()
    signal?.throwIfAborted()
    last = performance.now()
  }
  return () => (performance.now() - last < slice ? undefined : pause())
}
