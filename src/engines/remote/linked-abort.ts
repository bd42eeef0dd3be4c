/**
 * An `AbortController` that also aborts when one of its source signals does, until it is disposed.
 *
 * Unlike `AbortSignal.any`, reading `aborted` does not visit all sources; a stream reads it for every token.
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

  /** Called when a source aborts. */
  handleEvent({ target }: Event): void {
    this.abort((target as AbortSignal).reason)
  }

  [Symbol.dispose](): void {
    for (const source of this.#sources) source.removeEventListener('abort', this)
  }
}
