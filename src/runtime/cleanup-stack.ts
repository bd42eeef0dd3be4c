/**
 * Disposes acquired resources when a later acquisition fails, like `DisposableStack`, which older Node versions lack.
 *
 * In: disposables, in the order of their creation. Out: they are disposed in reverse order, unless moved out.
 */
export class CleanupStack implements Disposable {
  #owned: Disposable[] = []

  use<T extends Disposable>(value: T): T {
    this.#owned.push(value)
    return value
  }

  /** Moves all resources to a new stack, which the caller disposes. */
  move(): Disposable {
    const moved = new CleanupStack()
    moved.#owned = this.#owned
    this.#owned = []
    return moved
  }

  [Symbol.dispose](): void {
    for (const value of this.#owned.reverse()) value[Symbol.dispose]()
    this.#owned = []
  }
}
