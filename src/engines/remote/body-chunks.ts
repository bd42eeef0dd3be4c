/**
 * The chunks of a response's body, read only as they are consumed: while no one waits for one, at most one is held and
 * the body is paused, so that the peer's connection fills and the peer waits.
 *
 * In: a body. Out: its chunks in order, then undefined. Fewer turns of the event loop than the body's own iterator.
 */

import type { Readable } from 'node:stream'

interface Waiter {
  readonly resolve: (chunk: Uint8Array | undefined) => void
  readonly reject: (error: unknown) => void
}

export class BodyChunks {
  readonly #body: Readable
  readonly #held: Uint8Array[] = []
  #waiter: Waiter | undefined
  #over = false
  #complete = false
  #error: unknown

  constructor(body: Readable) {
    this.#body = body
    body.on('data', (chunk: Uint8Array) => this.#take(chunk))
    body.once('end', () => this.#finish())
    body.on('error', (error) => this.#finish(error))
    body.once('close', () => this.#finish(new Error('The connection was closed.')))
  }

  /** One caller at a time. @throws what ended the body early */
  next(): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      const chunk = this.#held.shift()
      if (chunk !== undefined) resolve(chunk)
      else if (!this.#over) {
        this.#waiter = { resolve, reject }
        if (this.#body.isPaused()) this.#body.resume()
      } else if (this.#error === undefined) resolve(undefined)
      else reject(this.#error)
    })
  }

  /** Nothing more is needed. What is left is read for so many milliseconds, because then the connection is kept. */
  complete(milliseconds: number): void {
    const body = this.#body
    this.#complete = true
    if (this.#over || body.destroyed) return
    const timer = setTimeout(() => body.destroy(), milliseconds)
    timer.unref()
    body.once('close', () => clearTimeout(timer))
    body.resume()
  }

  #take(chunk: Uint8Array): void {
    if (this.#complete) return
    const waiter = this.#waiter
    if (waiter) {
      this.#waiter = undefined
      waiter.resolve(chunk)
      return
    }
    this.#held.push(chunk)
    this.#body.pause()
  }

  #finish(error?: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#error = error
    if (error === undefined) this.#waiter?.resolve(undefined)
    else this.#waiter?.reject(error)
    this.#waiter = undefined
  }
}
