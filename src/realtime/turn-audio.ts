/**
 * A turn's audio on its way to the engine while it is being said.
 *
 * In: samples as they come, before and after the engine has opened it. Out: nothing; the reply to the turn begins
 * sooner. Where no engine takes it, or what was sent is not what the turn has in the end, the turn goes the usual
 * way.
 */
import { createHash } from 'node:crypto'
import type { ArrivingAudio, AudioMedium } from '../contract/index.ts'
import { type AudioBuffer, SAMPLE_RATE } from './audio-buffer.ts'
import { pcmKey, pcmMedium } from './pcm-medium.ts'

export class TurnAudio implements Disposable {
  readonly #digest = createHash('sha256')
  #audio: ArrivingAudio | undefined
  /** What came before the engine was there. */
  #early: Float32Array[] | undefined = []
  #key: string | undefined
  /** How it may end. */
  #ending: { readonly silence: number; readonly key: string } | undefined
  #over = false

  /** `opening`: resolves with nothing where no engine takes it. */
  constructor(opening: Promise<ArrivingAudio | undefined>) {
    void opening.then(
      (audio) => this.#opened(audio),
      () => this.#opened(undefined),
    )
  }

  append(samples: Float32Array): void {
    if (this.#over || samples.length === 0) return
    this.#ending = undefined
    this.#digest.update(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength))
    if (this.#early) this.#early.push(samples)
    else this.#audio?.append(samples)
  }

  /** It ends with so many more samples of silence, unless `append` is called. */
  mayEnd(silence: number): void {
    if (this.#over) return
    const digest = this.#digest.copy().update(new Uint8Array(silence * Float32Array.BYTES_PER_ELEMENT))
    const key = pcmKey(SAMPLE_RATE, digest.digest('hex'))
    this.#ending = { silence, key }
    this.#audio?.mayEnd(silence, key)
  }

  /** The turn has ended; `medium` is what the conversation has of it. */
  complete(medium: AudioMedium): void {
    if (this.#over) return
    this.#key = this.#ending?.key ?? pcmKey(SAMPLE_RATE, this.#digest.digest('hex'))
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
    if (this.#ending) audio?.mayEnd(this.#ending.silence, this.#ending.key)
    if (this.#key !== undefined) audio?.complete(this.#key)
  }
}

/** The audio of a session's turns, one after the other, taken from its buffer as it comes. */
export class TurnSender implements Disposable {
  readonly #buffer: AudioBuffer
  readonly #open: () => TurnAudio | undefined
  /** From a turn's beginning to that of the next: its reply comes after its end. */
  #audio: TurnAudio | undefined
  /** Up to where it was sent, samples since the session began. Undefined: no turn has begun. */
  #until: number | undefined
  /** Where it may end, in silence from `#until` on. */
  #ending: number | undefined

  constructor(buffer: AudioBuffer, open: () => TurnAudio | undefined) {
    this.#buffer = buffer
    this.#open = open
  }

  /** Sends what the buffer has before `until` and was not sent. The buffer begins with the turn. */
  send(until: number): void {
    if (this.#until === undefined) {
      this.#audio?.[Symbol.dispose]()
      this.#audio = this.#open()
      this.#until = this.#buffer.start
    }
    if (until <= this.#until) return
    this.#ending = undefined
    this.#audio?.append(this.#buffer.read(this.#until, until))
    this.#until = until
  }

  /** What is not sent yet is silence up to `end`, where the turn ends unless more is sent. */
  mayEnd(end: number): void {
    if (this.#until === undefined || this.#ending === end) return
    this.#ending = end
    this.#audio?.mayEnd(end - this.#until)
  }

  /** Takes the turn's audio, which ends at `end`, out of the buffer. From `silentFrom` on it is given as silence. */
  take(end: number, silentFrom = end): AudioMedium {
    const { start } = this.#buffer
    const samples = this.#buffer.take(end)
    samples.fill(0, Math.max(0, silentFrom - start))
    const audio = pcmMedium(samples, SAMPLE_RATE)
    if (this.#until !== undefined) {
      if (this.#ending !== end) this.#audio?.append(samples.subarray(this.#until - start))
      this.#audio?.complete(audio)
    }
    this.#until = undefined
    this.#ending = undefined
    return audio
  }

  /** There will be no such turn. */
  [Symbol.dispose](): void {
    this.#audio?.[Symbol.dispose]()
    this.#audio = undefined
    this.#until = undefined
    this.#ending = undefined
  }
}

/** Stands for a turn's audio in a request, while it is being said. */
export function audioToCome(): AudioMedium {
  return {
    kind: 'audio',
    files: [],
    facts: { sampleRate: SAMPLE_RATE, samples: SAMPLE_RATE },
    exact: true,
    contentKey: 'to come',
    decode: () => Promise.reject(new Error('this audio is still being said')),
    release: () => undefined,
  }
}
