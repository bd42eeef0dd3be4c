/**
 * Releases what has been acquired so far when a later step fails; what succeeds keeps it.
 *
 * In: disposables in the order they were made. Out: they are disposed in reverse order, unless kept. (`DisposableStack`
 * needs Node 24.)
 */
export class CleanupStack implements Disposable {
  #held: Disposable[] = []

  use<T extends Disposable>(value: T): T {
    this.#held.push(value)
    return value
  }

  /** Everything so far, now the caller's to dispose. */
  keep(): Disposable {
    const kept = new CleanupStack()
    kept.#held = this.#held
    this.#held = []
    return kept
  }

  [Symbol.dispose](): void {
    for (const value of this.#held.reverse()) value[Symbol.dispose]()
    this.#held = []
  }
}
