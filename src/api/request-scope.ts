/**
 * A request's resources: its abort signal, its slot in the queue, and its mark with the shutdown.
 *
 * The handler for errors, the stream for replies: whichever finishes the request calls `end()`.
 */
import { type ApiError, errors } from '../protocol/index.ts'
import type { Services } from './services.ts'

export class RequestScope {
  readonly #owned: Disposable[] = []
  readonly #own = new AbortController()
  readonly #client: AbortSignal
  readonly #stop: AbortSignal
  #timer: NodeJS.Timeout | undefined
  #timedOut = false
  #ended = false
  /** Aborted when the client disconnects, the time is up, the server is shut down, or the work is cancelled. */
  readonly signal: AbortSignal

  /** @throws ApiError 503 when the server is stopping. */
  constructor(services: Services, client: AbortSignal) {
    if (services.shutdown.stopping) throw errors.unavailable('The server is stopping.')
    this.#client = client
    this.#stop = services.shutdown.signal
    this.signal = AbortSignal.any([client, this.#stop, this.#own.signal])
    this.#owned.push(services.shutdown.enter())
    const { requestTimeout } = services.settings
    if (requestTimeout > 0) {
      this.#timer = setTimeout(() => {
        this.#timedOut = true
        this.#own.abort(new Error('the request took too long'))
      }, requestTimeout * 1000)
    }
  }

  /** Takes ownership of a resource, which is released at the end. */
  own(resource: Disposable): void {
    if (this.#ended) resource[Symbol.dispose]()
    else this.#owned.push(resource)
  }

  /** Cancels the work. */
  abort(): void {
    this.#own.abort(new Error('the reply was given up'))
  }

  /** Releases everything, once. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#timer)
    for (const resource of this.#owned.toReversed()) resource[Symbol.dispose]()
  }

  /**
   * Names the reason behind an error: time, shutdown, a client that has disconnected (undefined), or what `other` makes
   * of it.
   */
  explain(other: (error: unknown) => ApiError): (error: unknown) => ApiError | undefined {
    return (error) => {
      if (this.#timedOut) return errors.timedOut()
      if (this.#client.aborted) return undefined
      if (this.#stop.aborted) return errors.unavailable('The server is stopping.')
      return other(error)
    }
  }
}
