/**
 * A bounded buffer between the step loop and one request's reader.
 *
 * In: events from the loop. Out: the same events to one reader, in order. While `full` is set, the loop leaves the
 * request out of its batches (backpressure). No event is dropped.
 */

import type { EngineEvent } from '../contract/index.ts'

/** Audio that counts as one text event: 100 ms at 24 kHz. */
const samplesPerUnit = 2_400

export class EventQueue {
  readonly #limit: number
  readonly #onDrain: () => void
  #events: EngineEvent[] = []
  #weight = 0
  #full = false
  #closed = false
  #error: unknown
  #waiter: (() => void) | undefined

  /**
   * @param limit buffered events (or tenths of a second of audio) that set `full`. It clears at half of that.
   * @param onDrain called when `full` clears.
   */
  constructor(limit: number, onDrain: () => void) {
    this.#limit = limit
    this.#onDrain = onDrain
  }

  get full(): boolean {
    return this.#full
  }

  get closed(): boolean {
    return this.#closed
  }

  push(event: EngineEvent): void {
    if (this.#closed) return
    this.#events.push(event)
    this.#weight += weigh(event)
    if (this.#weight >= this.#limit) this.#full = true
    this.#wake()
  }

  /** Ends the queue. The reader gets `error` after the buffered events, or at once if `drop` discards them. */
  close(options: { error?: unknown; drop?: boolean } = {}): void {
    if (this.#closed) return
    this.#closed = true
    this.#error = options.error
    if (options.drop) this.#events = []
    this.#wake()
  }

  /** The next event, or undefined at the end. Rejects with the error passed to `close`. One caller at a time. */
  async next(): Promise<EngineEvent | undefined> {
    while (this.#events.length === 0) {
      if (this.#closed) {
        if (this.#error !== undefined) throw this.#error
        return undefined
      }
      await new Promise<void>((resolve) => (this.#waiter = resolve))
    }
    const event = this.#events.shift()!
    this.#weight -= weigh(event)
    if (this.#full && this.#weight <= this.#limit / 2) {
      this.#full = false
      this.#onDrain()
    }
    return event
  }

  #wake(): void {
    this.#waiter?.()
    this.#waiter = undefined
  }
}

function weigh(event: EngineEvent): number {
  return event.type === 'audio-delta' ? Math.max(1, event.pcm.length / samplesPerUnit) : 1
}
