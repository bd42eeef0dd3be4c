/**
 * One request's speech: its text, its frames of codes, and its vocoder.
 *
 * In: tokens to speak, frames of codes. Out: 16-bit PCM through `emit`. The vocoder runs in parallel with the steps, on
 * one piece at a time. The loop reads `failure` between steps, so that nothing is released in the middle of a step.
 */

import type { SpeechPipeline, SpeechReply, SpeechBatchMember, SpokenToken } from '../models/speech.ts'
import { toInt16 } from '../arithmetic/pcm.ts'
import { secondsAhead, type SpeechStatus } from './step-plan.ts'
import type { Clock } from './request-metrics.ts'
import type { VocoderSlots } from './vocoder-slots.ts'

export interface SpeechTaskOptions {
  readonly pipeline: SpeechPipeline
  readonly reply: SpeechReply
  /** Fires when the request is cancelled. */
  readonly signal: AbortSignal
  /** Queue for the vocoder, shared by all replies. */
  readonly vocoderSlots: VocoderSlots
  readonly clock: Clock
  emit(pcm: Int16Array): void
  /** Wakes the loop: the vocoder has caught up, or failed. */
  wake(): void
  /** Whether the loop is idle. */
  readonly idle: () => boolean
  /** Receives each frame's codes. */
  readonly onFrame?: (codes: Int32Array) => void
}

/** A request's speech, and its membership in batched speech steps. */
export class SpeechTask implements SpeechBatchMember, Disposable {
  readonly reply: SpeechReply
  readonly #options: SpeechTaskOptions
  /** The running vocoder work. It never rejects. */
  decoding: Promise<void> | undefined
  /** All audio has been decoded. */
  finished = false
  failure: unknown
  frameCount = 0
  /** Paused by the step plan, because it is well ahead of playback: no frames and no audio are made. */
  paused = false
  /** Left out of steps until memory is freed: there was none for its next rows. */
  waitsForMemory = false
  /** Its last reservation failed. */
  #reservationFailed = false
  /** Frames that wait for the vocoder, [groups] each. */
  #frames: Int32Array[] = []
  #chunk = 0
  #samples = 0
  #firstSentAt: number | undefined
  /** The talker makes no more frames. */
  #ended = false
  /** Text collected until there is enough to start. Undefined afterwards. */
  #initialText: SpokenToken[] | undefined = []
  #disposed = false

  constructor(options: SpeechTaskOptions) {
    this.#options = options
    this.reply = options.reply
  }

  get audioTokens(): number {
    return this.reply.audioTokens
  }

  /** Whether a speech step has work for it. */
  get canWork(): boolean {
    if (this.finished || this.failure !== undefined) return false
    return this.canAdvance || (this.decoding === undefined && this.#isDue)
  }

  get status(): SpeechStatus {
    const { canWork, paused } = this
    return { canWork, paused, ...this.#playback }
  }

  get #playback(): { sentSeconds: number; firstSentAt: number | undefined } {
    return { sentSeconds: this.#samples / this.#options.pipeline.sampleRate, firstSentAt: this.#firstSentAt }
  }

  /** Whether its last reservation failed and it still needs one. */
  get shortOfMemory(): boolean {
    return (
      this.#reservationFailed && !this.#ended && this.failure === undefined && this.reply.canAdvance(this.canMakeFrame)
    )
  }

  /** Clears the record of a failed reservation, before a step that reserves again. */
  startStep(): void {
    this.#reservationFailed = false
  }

  /** Whether it can do nothing until memory is freed. */
  get onlyWaitsForMemory(): boolean {
    return this.waitsForMemory && this.decoding === undefined && !this.canWork
  }

  /** Whether the family's pipeline has work for it. */
  get canAdvance(): boolean {
    return !this.#ended && !this.waitsForMemory && this.reply.canAdvance(this.canMakeFrame)
  }

  get canMakeFrame(): boolean {
    return this.#frames.length < this.#options.pipeline.maxPendingFrames
  }

  get inactive(): boolean {
    return this.#disposed || this.failure !== undefined || this.#options.signal.aborted
  }

  needsHidden(from: number, until: number): boolean {
    return !this.#ended && this.reply.needsHidden(from, until)
  }

  takeHidden(from: number, hidden: Float32Array): void {
    this.reply.takeHidden(from, hidden)
  }

  /** Adds text to speak. */
  addText(tokens: readonly SpokenToken[]): void {
    if (tokens.length === 0 || this.#ended) return
    if (!this.#initialText) return this.reply.addText(tokens)
    this.#initialText.push(...tokens)
    if (this.#initialText.length >= this.#options.pipeline.minTextTokens) this.#release()
  }

  /** No more text follows. A reply without text has no speech. */
  endText(): void {
    if (this.#initialText?.length === 0) {
      this.#ended = true
      this.finished = true
      return
    }
    this.#release()
    this.reply.endText()
  }

  #release(): void {
    const text = this.#initialText
    this.#initialText = undefined
    if (text) this.reply.addText(text)
  }

  addFrame(codes: Int32Array): void {
    this.frameCount += 1
    this.#frames.push(codes)
    this.#options.onFrame?.(codes)
    this.decode()
  }

  endFrames(): void {
    this.#ended = true
    this.decode()
  }

  waitForMemory(): void {
    this.waitsForMemory = true
    this.#reservationFailed = true
  }

  /** Frees its caches, which are computed again later. Returns whether that is possible. */
  preempt(): boolean {
    if (this.#ended || !this.reply.preempt()) return false
    this.waitForMemory()
    return true
  }

  fail(error: unknown): void {
    this.failure ??= error
  }

  /** Starts the vocoder on a full chunk, or on the last frames. */
  decode(): void {
    if (this.inactive || this.finished || this.decoding || this.paused || !this.#isDue) return
    this.decoding = this.#decodeDue()
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.decoding = undefined
        this.#options.wake()
      })
  }

  get #isDue(): boolean {
    return this.#ended || this.#frames.length >= this.#options.pipeline.chunkFrames(this.#chunk)
  }

  async #decodeDue(): Promise<void> {
    const { reply } = this
    const { pipeline, signal, vocoderSlots, clock } = this.#options
    const useAllThreads = (): boolean => this.#options.idle()
    const urgency = (): number => secondsAhead(this.#playback, clock()) ?? -Infinity
    while (this.#isDue && !this.paused) {
      using _slot = await vocoderSlots.acquire(urgency, signal)
      if (this.inactive) return
      if (this.#frames.length > 0) {
        const frames = this.#frames.splice(0, pipeline.chunkFrames(this.#chunk))
        const groups = frames[0]!.length
        const codes = new Int32Array(frames.length * groups)
        frames.forEach((frame, index) => codes.set(frame, index * groups))
        this.#chunk += 1
        // The loop is woken for the last waiting chunk only: earlier chunks may use all threads.
        if (!this.#isDue) this.#options.wake()
        this.#emit(await reply.vocoder.push(codes, { signal, useAllThreads }))
      }
      if (this.#frames.length > 0 || !this.#ended || this.inactive) continue
      this.#emit(await reply.vocoder.finish({ signal, useAllThreads }))
      this.finished = true
      return
    }
  }

  #emit(samples: Float32Array): void {
    if (samples.length === 0 || this.inactive) return
    this.#firstSentAt ??= this.#options.clock()
    this.#samples += samples.length
    this.#options.emit(toInt16(samples))
  }

  /** Call between steps only. The vocoder's state is released once its running call has returned. */
  [Symbol.dispose](): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#ended = true
    this.finished = true
    const { reply } = this
    reply[Symbol.dispose]()
    if (this.decoding) void this.decoding.then(() => reply.vocoder[Symbol.dispose]())
    else reply.vocoder[Symbol.dispose]()
    this.#frames = []
  }
}
