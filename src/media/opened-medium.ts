/**
 * A medium that was fetched and looked at, to be decoded when somebody asks.
 *
 * In: its files, what its header says, and how to decode it. Out: a contract `Medium`. Readers at the same time share one decoding;
 * it ends early when the last of them has gone.
 */

import type { AnyMedium, AudioMedium, ImageMedium, MediaFile, VideoMedium } from '../contract/index.ts'
import { abortedError } from './errors.ts'
import type { MemoryBudget } from './memory-budget.ts'

type Decoded<M extends AnyMedium> = M extends { decode(signal?: AbortSignal): Promise<infer D> } ? D : never

/** What decoding gave. */
export interface Outcome<M extends AnyMedium> {
  readonly decoded: Decoded<M>
  /** As they turned out to be. */
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
  /** What the header gives reason to say. */
  readonly warnings: readonly string[]
  /** Lets go of the files. */
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

/** A medium with what its owner may ask besides. Disposing it lets go of the files. */
export type Opened<M extends AnyMedium> = M &
  AsyncDisposable & {
    /** What is missing or odd, never silence; more may be known once it is decoded. */
    readonly warnings: readonly string[]
  }
export type OpenedImage = Opened<ImageMedium>
export type OpenedAudio = Opened<AudioMedium>
export type OpenedVideo = Opened<VideoMedium>

export function openedMedium<M extends AnyMedium>(source: MediumSource<M>): Opened<M> {
  // The class keeps one kind's facts and decoded type together, which the union cannot say of itself.
  return new LazyMedium<M>(source) as unknown as Opened<M>
}
