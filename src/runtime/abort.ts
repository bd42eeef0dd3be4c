/**
 * One abort signal for a batch. It fires when every member of the batch has been cancelled.
 *
 * In: the members' signals. Out: a signal for the stage call. Dispose it after the call.
 */

export interface BatchSignal extends Disposable {
  readonly signal: AbortSignal
}

/** The combined signal fires with the reason of the last member to fire. */
export function whenAllAborted(signals: readonly AbortSignal[]): BatchSignal {
  const controller = new AbortController()
  let left = 0
  const listeners: { signal: AbortSignal; listener: () => void }[] = []
  for (const signal of signals) {
    if (signal.aborted) continue
    left += 1
    const listener = (): void => {
      left -= 1
      if (left === 0) controller.abort(signal.reason)
    }
    signal.addEventListener('abort', listener, { once: true })
    listeners.push({ signal, listener })
  }
  if (left === 0) controller.abort(signals.at(-1)?.reason)
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const { signal, listener } of listeners) signal.removeEventListener('abort', listener)
    },
  }
}
