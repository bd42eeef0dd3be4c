/**
 * An `AbortController` that also fires with other signals, until it is disposed.
 *
 * `AbortSignal.any` asks all its sources each time `aborted` is read; a stream reads it for every token.
 */

export class LinkedAbort extends AbortController implements Disposable {
  readonly #sources: readonly AbortSignal[]

  constructor(...sources: readonly AbortSignal[]) {
    super()
    this.#sources = sources
    for (const source of sources) {
      if (source.aborted) this.abort(source.reason)
      else source.addEventListener('abort', this)
    }
  }

  /** A source has fired. */
  handleEvent({ target }: Event): void {
    this.abort((target as AbortSignal).reason)
  }

  [Symbol.dispose](): void {
    for (const source of this.#sources) source.removeEventListener('abort', this)
  }
}
