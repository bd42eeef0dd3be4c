/**
 * A request's speech: its text on the way to the family's pipeline, and its frames on the way through the vocoder.
 *
 * In: tokens that may be spoken, frames of codes. Out: 16-bit audio through `emit`. The vocoder works beside the
 * steps, on one piece at a time; what it fails with is kept in `failure` until the loop looks, so that nothing is
 * released in the middle of a step.
 */

import type { SpeechPipeline, SpeechReply, SpeechBatchMember, SpokenToken } from '../models/speech.ts'
import { toInt16 } from '../arithmetic/pcm.ts'
import { secondsAhead, type SpeechStatus } from './step-plan.ts'
import type { Clock } from './request-metrics.ts'
import type { VocoderSlots } from './vocoder-slots.ts'

export interface SpeechTaskOptions {
  readonly pipeline: SpeechPipeline
  readonly reply: SpeechReply
  /** Fires when the request is given up. */
  readonly signal: AbortSignal
  /** Where pieces of all replies wait for the vocoder. */
  readonly vocoderSlots: VocoderSlots
  readonly clock: Clock
  emit(pcm: Int16Array): void
  /** There is something to do again: the vocoder has caught up, or failed. */
  wake(): void
  /** True while there is nothing to do before something wakes the loop. */
  readonly idle: () => boolean
  /** Sees each frame's codes. */
  readonly onFrame?: (codes: Int32Array) => void
}

/** A request's turn in every speech step it takes part in. */
export class SpeechTask implements SpeechBatchMember, Disposable {
  readonly reply: SpeechReply
  readonly #options: SpeechTaskOptions
  /** The vocoder's work, while there is any. Never rejects. */
  decoding: Promise<void> | undefined
  /** Everything has been decoded. */
  finished = false
  failure: unknown
  frameCount = 0
  /** It is well ahead of its playback and leaves its turn to others: neither frames nor audio are made. */
  paused = false
  /** There was no memory for its next rows; it waits until some was freed. */
  waitsForMemory = false
  /** It has found no memory and not asked again. */
  #reservationFailed = false
  /** Frames not decoded yet, each [groups]. */
  #frames: Int32Array[] = []
  #chunk = 0
  #samples = 0
  #firstSentAt: number | undefined
  /** No more frames come; what is left is decoding. */
  #ended = false
  /** Text that waits until there is enough to begin with; undefined from then on. */
  #held: SpokenToken[] | undefined = []
  #disposed = false

  constructor(options: SpeechTaskOptions) {
    this.#options = options
    this.reply = options.reply
  }

  get audioTokens(): number {
    return this.reply.audioTokens
  }

  /** Whether a speech step could do anything for it. */
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

  /** It found no memory for its next rows, and has not found any since. */
  get shortOfMemory(): boolean {
    return this.#reservationFailed && !this.#ended && this.failure === undefined && this.reply.canAdvance(this.canMakeFrame)
  }

  /** It asks for memory now. */
  startStep(): void {
    this.#reservationFailed = false
  }

  /** It waits for memory, and has nothing else to do. */
  get onlyWaitsForMemory(): boolean {
    return this.waitsForMemory && this.decoding === undefined && !this.canWork
  }

  /** Whether the family's pipeline could do anything for it. */
  get canAdvance(): boolean {
    return !this.#ended && !this.waitsForMemory && this.reply.canAdvance(this.canMakeFrame)
  }

  get canMakeFrame(): boolean {
    return this.#frames.length < this.#options.pipeline.maxPendingFrames
  }

  get inactive(): boolean {
    return this.#disposed || this.failure !== undefined || this.#options.signal.aborted
  }

  wantsHidden(from: number, until: number): boolean {
    return !this.#ended && this.reply.wantsHidden(from, until)
  }

  takeHidden(from: number, hidden: Float32Array): void {
    this.reply.takeHidden(from, hidden)
  }

  /** Adds text to speak. */
  addText(tokens: readonly SpokenToken[]): void {
    if (tokens.length === 0 || this.#ended) return
    if (!this.#held) return this.reply.addText(tokens)
    this.#held.push(...tokens)
    if (this.#held.length >= this.#options.pipeline.minTextTokens) this.#release()
  }

  /** No more text. A reply without any is not spoken at all. */
  endText(): void {
    if (this.#held?.length === 0) {
      this.#ended = true
      this.finished = true
      return
    }
    this.#release()
    this.reply.endText()
  }

  #release(): void {
    const held = this.#held
    this.#held = undefined
    if (held) this.reply.addText(held)
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

  /** Frees its caches, to compute their content again once there is memory. Returns whether it could. */
  preempt(): boolean {
    if (this.#ended || !this.reply.preempt()) return false
    this.waitForMemory()
    return true
  }

  fail(error: unknown): void {
    this.failure ??= error
  }

  /** Sets the vocoder to work on a full chunk, or on what is left when no more frames come. */
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
    const alone = (): boolean => this.#options.idle()
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
        // Frames are made beside the last of what was waiting; before that nobody needs the other threads.
        if (!this.#isDue) this.#options.wake()
        this.#emit(await reply.vocoder.push(codes, { signal, alone }))
      }
      if (this.#frames.length > 0 || !this.#ended || this.inactive) continue
      this.#emit(await reply.vocoder.finish({ signal, alone }))
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

  /** Between steps only. The vocoder's state goes once it has stopped. */
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
