/**
 * A turn's audio on its way to the engine while it is being said.
 *
 * In: samples as they come, before and after the engine has opened it. Out: nothing; the reply to the turn begins sooner. Where no engine
 * takes it, or what was sent is not what the turn has in the end, the turn goes the usual way.
 */
import { createHash } from 'node:crypto'
import type { ArrivingAudio, AudioMedium } from '../contract/index.ts'
import { pcmKey } from './pcm-medium.ts'

export class TurnAudio implements Disposable {
  readonly #digest = createHash('sha256')
  readonly #sampleRate: number
  #audio: ArrivingAudio | undefined
  /** What came before the engine was there. */
  #early: Float32Array[] | undefined = []
  #key: string | undefined
  #over = false

  /** `opening`: resolves with nothing where no engine takes it. */
  constructor(sampleRate: number, opening: Promise<ArrivingAudio | undefined>) {
    this.#sampleRate = sampleRate
    void opening.then(
      (audio) => this.#opened(audio),
      () => this.#opened(undefined),
    )
  }

  append(samples: Float32Array): void {
    if (this.#over || samples.length === 0) return
    this.#digest.update(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength))
    if (this.#early) this.#early.push(samples)
    else this.#audio?.append(samples)
  }

  /** The turn has ended; `medium` is what the conversation has of it. */
  complete(medium: AudioMedium): void {
    if (this.#over) return
    this.#key = pcmKey(this.#sampleRate, this.#digest.digest('hex'))
    if (this.#key !== medium.contentKey) return this[Symbol.dispose]()
    this.#audio?.complete(this.#key)
  }

  [Symbol.dispose](): void {
    this.#over = true
    this.#early = undefined
    this.#audio?.[Symbol.dispose]()
    this.#audio = undefined
  }

  #opened(audio: ArrivingAudio | undefined): void {
    if (this.#over) return audio?.[Symbol.dispose]()
    this.#audio = audio
    for (const samples of this.#early ?? []) audio?.append(samples)
    this.#early = undefined
    if (this.#key !== undefined) audio?.complete(this.#key)
  }
}

/** Stands for a turn's audio in a request, while it is being said. */
export function audioToCome(sampleRate: number): AudioMedium {
  return {
    kind: 'audio',
    files: [],
    facts: { sampleRate, samples: sampleRate },
    exact: true,
    contentKey: 'to come',
    decode: () => Promise.reject(new Error('this audio is still being said')),
    release: () => undefined,
  }
}
