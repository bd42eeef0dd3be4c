/**
 * A medium that was fetched and probed, decoded on request.
 *
 * In: its files, their header's facts, and how to decode it. Out: a contract `Medium`. Concurrent readers share one
 * decoding; it ends early when the last of them has left.
 */

import type { AnyMedium, AudioMedium, ImageMedium, MediaFile, VideoMedium } from '../contract/index.ts'
import { abortedError } from './errors.ts'
import type { MemoryBudget } from './memory-budget.ts'

type Decoded<M extends AnyMedium> = M extends { decode(signal?: AbortSignal): Promise<infer D> } ? D : never

/** The result of decoding. */
export interface Outcome<M extends AnyMedium> {
  readonly decoded: Decoded<M>
  /** The actual values. */
  readonly facts: M['facts']
  readonly warnings: readonly string[]
}

export interface MediumSource<M extends AnyMedium> {
  readonly kind: M['kind']
  readonly files: readonly MediaFile[]
  readonly facts: M['facts']
  readonly exact: boolean
  readonly contentKey: string
  /** Memory of the decoded medium, by its header. */
  readonly bytes: number
  readonly decode: (signal: AbortSignal) => Promise<Outcome<M>>
  readonly budget: MemoryBudget
  /** Warnings from the header. */
  readonly warnings: readonly string[]
  /** Deletes the files. */
  readonly close: () => Promise<void>
}

interface Running<M extends AnyMedium> {
  readonly result: Promise<Decoded<M>>
  readonly stop: AbortController
  readers: number
}

class LazyMedium<M extends AnyMedium> {
  readonly kind: M['kind']
  readonly files: readonly MediaFile[]
  readonly contentKey: string
  readonly #source: MediumSource<M>
  #outcome: Outcome<M> | undefined
  #known: Pick<Outcome<M>, 'facts' | 'warnings'> | undefined
  #running: Running<M> | undefined
  #grant: Disposable | undefined

  constructor(source: MediumSource<M>) {
    this.#source = source
    this.kind = source.kind
    this.files = source.files
    this.contentKey = source.contentKey
  }

  /** By the header, and exact once the medium has been decoded. */
  get facts(): M['facts'] {
    return this.#known?.facts ?? this.#source.facts
  }

  get exact(): boolean {
    return this.#source.exact || this.#known !== undefined
  }

  get warnings(): readonly string[] {
    return this.#known?.warnings ?? this.#source.warnings
  }

  async decode(signal?: AbortSignal): Promise<Decoded<M>> {
    if (signal?.aborted) throw abortedError(signal)
    if (this.#outcome) return this.#outcome.decoded
    const running = (this.#running ??= this.#start())
    running.readers += 1
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        running.readers -= 1
        if (running.readers === 0) running.stop.abort(signal?.reason)
        reject(abortedError(signal))
      }
      signal?.addEventListener('abort', leave, { once: true })
      const settle = (): void => signal?.removeEventListener('abort', leave)
      running.result.finally(settle).then(resolve, reject)
    })
  }

  release(): void {
    this.#outcome = undefined
    if (this.#running) return
    this.#grant?.[Symbol.dispose]()
    this.#grant = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running?.stop.abort()
    await this.#running?.result.catch(() => undefined)
    this.release()
    await this.#source.close()
  }

  #start(): Running<M> {
    const stop = new AbortController()
    const result = this.#run(stop.signal).finally(() => (this.#running = undefined))
    result.catch(() => undefined)
    return { result, stop, readers: 0 }
  }

  async #run(signal: AbortSignal): Promise<Decoded<M>> {
    const { budget, bytes, decode } = this.#source
    this.#grant ??= await budget.acquire(bytes, signal)
    try {
      this.#outcome = await decode(signal)
      this.#known = this.#outcome
      return this.#outcome.decoded
    } catch (error) {
      this.#grant?.[Symbol.dispose]()
      this.#grant = undefined
      throw error
    }
  }
}

/** A medium with its owner's extra methods. Disposing it deletes the files. */
export type Opened<M extends AnyMedium> = M &
  AsyncDisposable & {
    /** Warnings about missing or damaged parts; decoding may add more. */
    readonly warnings: readonly string[]
  }
export type OpenedImage = Opened<ImageMedium>
export type OpenedAudio = Opened<AudioMedium>
export type OpenedVideo = Opened<VideoMedium>

export function openedMedium<M extends AnyMedium>(source: MediumSource<M>): Opened<M> {
  // The class keeps one kind's facts and decoded type together, which the union cannot express.
  return new LazyMedium<M>(source) as unknown as Opened<M>
}
