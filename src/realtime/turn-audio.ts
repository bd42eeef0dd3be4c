/**
 * Sends a turn's audio to the engine while the user speaks, so that the reply starts sooner.
 *
 * In: samples, before and after the engine has opened the audio. Out: nothing. If the engine does not support this, or
 * if the committed audio differs from the audio sent, the turn is encoded with its request.
 */
import { createHash } from 'node:crypto'
import type { ArrivingAudio, AudioMedium } from '../contract/index.ts'
import { type AudioBuffer, SAMPLE_RATE } from './audio-buffer.ts'
import { pcmKey, pcmMedium } from './pcm-medium.ts'

export class TurnAudio implements Disposable {
  readonly #digest = createHash('sha256')
  #audio: ArrivingAudio | undefined
  /** Samples received before the engine has opened the audio. */
  #unsent: Float32Array[] | undefined = []
  #key: string | undefined
  /** Its possible end. */
  #ending: { readonly silence: number; readonly key: string } | undefined
  #over = false

  /** `opening` resolves with undefined when the engine does not support arriving audio. */
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
    if (this.#unsent) this.#unsent.push(samples)
    else this.#audio?.append(samples)
  }

  /** Announces an end after `silence` more samples of silence. A later `append` revokes it. */
  mayEnd(silence: number): void {
    if (this.#over) return
    const digest = this.#digest.copy().update(new Uint8Array(silence * Float32Array.BYTES_PER_ELEMENT))
    const key = pcmKey(SAMPLE_RATE, digest.digest('hex'))
    this.#ending = { silence, key }
    this.#audio?.mayEnd(silence, key)
  }

  /** Ends the turn. `medium`: the turn's audio in the conversation. */
  complete(medium: AudioMedium): void {
    if (this.#over) return
    this.#key = this.#ending?.key ?? pcmKey(SAMPLE_RATE, this.#digest.digest('hex'))
    if (this.#key !== medium.contentKey) return this[Symbol.dispose]()
    this.#audio?.complete(this.#key)
  }

  [Symbol.dispose](): void {
    this.#over = true
    this.#unsent = undefined
    this.#audio?.[Symbol.dispose]()
    this.#audio = undefined
  }

  #opened(audio: ArrivingAudio | undefined): void {
    if (this.#over) return audio?.[Symbol.dispose]()
    this.#audio = audio
    for (const samples of this.#unsent ?? []) audio?.append(samples)
    this.#unsent = undefined
    if (this.#ending) audio?.mayEnd(this.#ending.silence, this.#ending.key)
    if (this.#key !== undefined) audio?.complete(this.#key)
  }
}

/** Sends the audio of a session's turns from its buffer to the engine, one turn at a time. */
export class TurnSender implements Disposable {
  readonly #buffer: AudioBuffer
  readonly #open: () => TurnAudio | undefined
  /** The audio of the current turn, or of the last one until the next turn starts. */
  #audio: TurnAudio | undefined
  /** End of the audio sent, samples since the start of the session. Undefined outside a turn. */
  #sentUntil: number | undefined
  /** Possible end of the turn: samples from `#sentUntil` to it are silence. */
  #ending: number | undefined

  constructor(buffer: AudioBuffer, open: () => TurnAudio | undefined) {
    this.#buffer = buffer
    this.#open = open
  }

  /** Sends the samples before `until` that have not been sent. The buffer must start with the turn. */
  send(until: number): void {
    if (this.#sentUntil === undefined) {
      this.#audio?.[Symbol.dispose]()
      this.#audio = this.#open()
      this.#sentUntil = this.#buffer.start
    }
    if (until <= this.#sentUntil) return
    this.#ending = undefined
    this.#audio?.append(this.#buffer.read(this.#sentUntil, until))
    this.#sentUntil = until
  }

  /** Announces a possible end of the turn: the samples not sent yet, up to `end`, are silence. */
  mayEnd(end: number): void {
    if (this.#sentUntil === undefined || this.#ending === end) return
    this.#ending = end
    this.#audio?.mayEnd(end - this.#sentUntil)
  }

  /** Removes the turn's audio, up to `end`, from the buffer. Samples from `silentFrom` on become digital silence. */
  take(end: number, silentFrom = end): AudioMedium {
    const { start } = this.#buffer
    const samples = this.#buffer.take(end)
    samples.fill(0, Math.max(0, silentFrom - start))
    const audio = pcmMedium(samples, SAMPLE_RATE)
    if (this.#sentUntil !== undefined) {
      if (this.#ending !== end) this.#audio?.append(samples.subarray(this.#sentUntil - start))
      this.#audio?.complete(audio)
    }
    this.#sentUntil = undefined
    this.#ending = undefined
    return audio
  }

  /** Discards the turn. */
  [Symbol.dispose](): void {
    this.#audio?.[Symbol.dispose]()
    this.#audio = undefined
    this.#sentUntil = undefined
    this.#ending = undefined
  }
}

/** The placeholder in a request for audio that is still arriving. */
export function audioPlaceholder(): AudioMedium {
  return {
    kind: 'audio',
    files: [],
    facts: { sampleRate: SAMPLE_RATE, samples: SAMPLE_RATE },
    exact: true,
    contentKey: 'arriving',
    decode: () => Promise.reject(new Error('this audio is still arriving')),
    release: () => undefined,
  }
}
