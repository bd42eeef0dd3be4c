/**
 * A medium that was fetched and probed, decoded on request.
 *
 * In: its files, the facts from their headers, and a function that decodes it. Out: a contract `Medium`. Concurrent
 * callers of `decode` share one decoding, which is aborted when all of them have aborted.
 */

import type { AnyMedium, AudioMedium, ImageMedium, MediaFile, VideoMedium } from '../contract/index.ts'
import { abortedError } from './errors.ts'
import type { Semaphore } from './semaphore.ts'

type Decoded<M extends AnyMedium> = M extends { decode(signal?: AbortSignal): Promise<infer D> } ? D : never

/** The result of decoding. */
export interface DecodeResult<M extends AnyMedium> {
  readonly decoded: Decoded<M>
  /** Facts of the decoded medium. */
  readonly facts: M['facts']
  readonly warnings: readonly string[]
}

export interface MediumSource<M extends AnyMedium> {
  readonly kind: M['kind']
  readonly files: readonly MediaFile[]
  readonly facts: M['facts']
  readonly exact: boolean
  readonly contentKey: string
  /** Memory of the decoded medium, estimated from its header, in bytes. */
  readonly bytes: number
  readonly decode: (signal: AbortSignal) => Promise<DecodeResult<M>>
  /** Counts the bytes of all decoded media. */
  readonly budget: Semaphore
  /** Warnings from the header. */
  readonly warnings: readonly string[]
  /** Deletes the files. */
  readonly close: () => Promise<void>
}

/** A decoding that has not ended. */
interface RunningDecode<M extends AnyMedium> {
  readonly result: Promise<Decoded<M>>
  readonly stop: AbortController
  /** Callers that wait for the result. */
  callers: number
}

class LazyMedium<M extends AnyMedium> {
  readonly kind: M['kind']
  readonly files: readonly MediaFile[]
  readonly contentKey: string
  readonly #source: MediumSource<M>
  #result: DecodeResult<M> | undefined
  #exactInfo: Pick<DecodeResult<M>, 'facts' | 'warnings'> | undefined
  #running: RunningDecode<M> | undefined
  #grant: Disposable | undefined

  constructor(source: MediumSource<M>) {
    this.#source = source
    this.kind = source.kind
    this.files = source.files
    this.contentKey = source.contentKey
  }

  /** From the header; exact once the medium has been decoded. */
  get facts(): M['facts'] {
    return this.#exactInfo?.facts ?? this.#source.facts
  }

  get exact(): boolean {
    return this.#source.exact || this.#exactInfo !== undefined
  }

  get warnings(): readonly string[] {
    return this.#exactInfo?.warnings ?? this.#source.warnings
  }

  async decode(signal?: AbortSignal): Promise<Decoded<M>> {
    if (signal?.aborted) throw abortedError(signal)
    if (this.#result) return this.#result.decoded
    const running = (this.#running ??= this.#start())
    running.callers += 1
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        running.callers -= 1
        if (running.callers === 0) running.stop.abort(signal?.reason)
        reject(abortedError(signal))
      }
      signal?.addEventListener('abort', leave, { once: true })
      const settle = (): void => signal?.removeEventListener('abort', leave)
      running.result.finally(settle).then(resolve, reject)
    })
  }

  release(): void {
    this.#result = undefined
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

  #start(): RunningDecode<M> {
    const stop = new AbortController()
    const result = this.#run(stop.signal).finally(() => (this.#running = undefined))
    result.catch(() => undefined)
    return { result, stop, callers: 0 }
  }

  async #run(signal: AbortSignal): Promise<Decoded<M>> {
    const { budget, bytes, decode } = this.#source
    this.#grant ??= await budget.acquire(bytes, signal)
    try {
      this.#result = await decode(signal)
      this.#exactInfo = this.#result
      return this.#result.decoded
    } catch (error) {
      this.#grant?.[Symbol.dispose]()
      this.#grant = undefined
      throw error
    }
  }
}

/** A medium with its warnings. Disposing it deletes the files. */
export type Opened<M extends AnyMedium> = M &
  AsyncDisposable & {
    /** Warnings about missing or damaged parts; decoding may add more. */
    readonly warnings: readonly string[]
  }
export type OpenedImage = Opened<ImageMedium>
export type OpenedAudio = Opened<AudioMedium>
export type OpenedVideo = Opened<VideoMedium>

export function openedMedium<M extends AnyMedium>(source: MediumSource<M>): Opened<M> {
  // The union type cannot express that facts and decoded type belong to the same kind; the class does.
  return new LazyMedium<M>(source) as unknown as Opened<M>
}
