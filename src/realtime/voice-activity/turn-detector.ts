/**
 * Detects the start and the end of a turn from probabilities of speech.
 *
 * In: one probability per 32 ms. Out: `start` and `stop`, in samples since the start of the session. Speech starts with
 * two consecutive windows at or above the threshold. It ends after the configured silence; a window is silent if its
 * probability is 0.15 below the threshold. Reference: snakers4/silero-vad `VADIterator`; Model Studio's
 * `turn_detection` (threshold, prefix_padding_ms, silence_duration_ms).
 */
import type { TurnDetection } from '../config.ts'

const OPENING_WINDOWS = 2
const HYSTERESIS = 0.15
/** The hosted service accepts thresholds down to -1. Below this value, noise counts as speech. */
const LOWEST = 0.1
const HIGHEST = 0.95
/** In semantic mode, shorter speech is probably incomplete: the silence that ends it is doubled. */
const SHORT_SPEECH_MS = 600

export type TurnChange =
  /** `at`: the first sample of the turn, including padding. */
  | { readonly type: 'start'; readonly at: number }
  /** `at`: the sample after the last one of the turn. */
  | { readonly type: 'stop'; readonly at: number }

/** Silence in a turn that may end it. */
export interface Pause {
  /** Its first sample. */
  readonly since: number
  /** Where the turn ends if the silence continues. */
  readonly until: number
}

export interface TurnDetectorOptions {
  readonly detection: TurnDetection
  readonly sampleRate: number
  readonly windowSamples: number
  /** Start of the first window, samples since the start of the session. */
  readonly startsAt: number
}

export class TurnDetector {
  readonly #options: TurnDetectorOptions
  #detection: TurnDetection
  #at: number
  #opening = 0
  #speaking = false
  #started = 0
  #silentSince: number | undefined

  constructor(options: TurnDetectorOptions) {
    this.#options = options
    this.#detection = options.detection
    this.#at = options.startsAt
  }

  get speaking(): boolean {
    return this.#speaking
  }

  /** The pause that the last window belongs to. */
  get pause(): Pause | undefined {
    const { sampleRate, windowSamples } = this.#options
    const since = this.#silentSince
    if (since === undefined) return undefined
    const windows = Math.ceil((this.#silenceMs() / 1000) * (sampleRate / windowSamples))
    return { since, until: since + windows * windowSamples }
  }

  /** Changes the settings. A turn in progress continues. */
  adjust(detection: TurnDetection): void {
    this.#detection = detection
  }

  /** Adds the next window's probability. */
  push(probability: number): TurnChange | undefined {
    const { sampleRate, windowSamples } = this.#options
    const detection = this.#detection
    const start = this.#at
    this.#at += windowSamples
    const threshold = Math.min(HIGHEST, Math.max(LOWEST, detection.threshold))
    if (!this.#speaking) {
      this.#opening = probability >= threshold ? this.#opening + 1 : 0
      if (this.#opening < OPENING_WINDOWS) return undefined
      this.#speaking = true
      this.#silentSince = undefined
      this.#started = start - (OPENING_WINDOWS - 1) * windowSamples
      this.#opening = 0
      const padding = Math.round((detection.prefixPaddingMs / 1000) * sampleRate)
      return { type: 'start', at: Math.max(0, this.#started - padding) }
    }
    if (probability >= threshold) this.#silentSince = undefined
    else if (probability < Math.max(0.01, threshold - HYSTERESIS)) this.#silentSince ??= start
    if (this.#silentSince === undefined) return undefined
    const silence = this.#at - this.#silentSince
    if ((silence / sampleRate) * 1000 < this.#silenceMs()) return undefined
    return this.#stop()
  }

  /** Ends the turn in progress, if there is one. */
  cut(): TurnChange | undefined {
    return this.#speaking ? this.#stop() : undefined
  }

  #silenceMs(): number {
    const { sampleRate } = this.#options
    const detection = this.#detection
    const spoken = (((this.#silentSince ?? this.#at) - this.#started) / sampleRate) * 1000
    return detection.type === 'semantic' && spoken < SHORT_SPEECH_MS ? detection.silenceMs * 2 : detection.silenceMs
  }

  #stop(): TurnChange {
    this.#speaking = false
    this.#silentSince = undefined
    return { type: 'stop', at: this.#at }
  }
}
