/** Ctrl-C and SIGTERM as an AbortSignal, for commands that are to clean up before they end. */
import { EXIT, Interrupted } from './exit.ts'

let controller: AbortController | undefined

/**
 * A signal that aborts with {@link Interrupted} at the first SIGINT or SIGTERM; a second one ends the process at once.
 * The same signal at every call. `serve` and the conversation of `chat` handle signals themselves and do not call this.
 */
export function interruptSignal(): AbortSignal {
  if (controller === undefined) {
    const made = new AbortController()
    controller = made
    const stop = (): void => {
      if (made.signal.aborted) process.exit(EXIT.interrupted)
      made.abort(new Interrupted('interrupted'))
    }
    process.on('SIGINT', stop)
    process.on('SIGTERM', stop)
  }
  return controller.signal
}
