/** Ctrl-C and SIGTERM as an AbortSignal, for commands that clean up before they end. */
import { EXIT, Interrupted } from './exit.ts'

let controller: AbortController | undefined

/**
 * A signal that aborts with {@link Interrupted} at the first SIGINT or SIGTERM; a second one ends the process at once.
 * Every call returns the same signal. `serve` and the conversation of `chat` handle signals themselves and do not call
 * this.
 */
export function interruptSignal(): AbortSignal {
  if (controller === undefined) {
    const created = new AbortController()
    controller = created
    const stop = (): void => {
      if (created.signal.aborted) process.exit(EXIT.interrupted)
      created.abort(new Interrupted('interrupted'))
    }
    process.on('SIGINT', stop)
    process.on('SIGTERM', stop)
  }
  return controller.signal
}
