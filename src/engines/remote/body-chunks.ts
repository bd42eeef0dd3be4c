/**
 * Reads the chunks of a response's body with backpressure: while no caller waits, at most one chunk is buffered, and
 * the body is paused. Needs fewer turns of the event loop than the body's own iterator.
 *
 * In: a body. Out: its chunks in order, then undefined.
 */

import type { Readable } from 'node:stream'

interface Waiter {
  readonly resolve: (chunk: Uint8Array | undefined) => void
  readonly reject: (error: unknown) => void
}

export class BodyChunks {
  readonly #body: Readable
  readonly #buffered: Uint8Array[] = []
  #waiter: Waiter | undefined
  #over = false
  #draining = false
  #error: unknown

  constructor(body: Readable) {
    this.#body = body
    body.on('data', (chunk: Uint8Array) => this.#onData(chunk))
    body.once('end', () => this.#finish())
    body.on('error', (error) => this.#finish(error))
    body.once('close', () => this.#finish(new Error('The connection was closed.')))
  }

  /**
   * The next chunk, or undefined at the end. One caller at a time. Rejects with the error that ended the body early.
   */
  next(): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      const chunk = this.#buffered.shift()
      if (chunk !== undefined) resolve(chunk)
      else if (!this.#over) {
        this.#waiter = { resolve, reject }
        if (this.#body.isPaused()) this.#body.resume()
      } else if (this.#error === undefined) resolve(undefined)
      else reject(this.#error)
    })
  }

  /**
   * Discards further chunks. Reads on for `milliseconds`, so that a body that ends in this time frees its connection.
   */
  drain(milliseconds: number): void {
    const body = this.#body
    this.#draining = true
    if (this.#over || body.destroyed) return
    const timer = setTimeout(() => body.destroy(), milliseconds)
    timer.unref()
    body.once('close', () => clearTimeout(timer))
    body.resume()
  }

  #onData(chunk: Uint8Array): void {
    if (this.#draining) return
    const waiter = this.#waiter
    if (waiter) {
      this.#waiter = undefined
      waiter.resolve(chunk)
      return
    }
    this.#buffered.push(chunk)
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
