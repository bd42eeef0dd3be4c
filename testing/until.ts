/**
 * Waiting for states in tests, not for time: the limit only reports a state that is never reached.
 *
 * In: a condition, or a check that throws while it does not hold. Out: resolves when it holds.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { vi } from 'vitest'

/** Under the time limit of a test, so that the failure names the condition. */
const LIMIT = 150_000

/** Waits until the condition holds. Checks every `interval` milliseconds. */
export async function until(holds: () => boolean | Promise<boolean>, interval = 2): Promise<void> {
  const deadline = performance.now() + LIMIT
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`never true: ${String(holds)}`)
    await sleep(interval)
  }
}

/** Waits until the check no longer throws, and returns what it returns. */
export function eventually<T>(check: () => T | Promise<T>, interval = 5): Promise<T> {
  return vi.waitFor(check, { timeout: LIMIT, interval })
}
