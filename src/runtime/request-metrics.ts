/**
 * One request's cost, for logs and metrics.
 *
 * In: marks of time as the request goes along. Out: {@link RequestMetrics} when it ends. Pure; the clock is passed in.
 */

export interface RequestMetrics {
  readonly id: string
  readonly outcome: 'stop' | 'length' | 'tool_calls' | 'aborted' | 'failed'
  /** Milliseconds from arrival to its slot. */
  readonly queuedMs: number
  /** Milliseconds from arrival to the first generated token. Absent when there was none. */
  readonly firstTokenMs?: number
  /** Milliseconds from arrival to the first audio. */
  readonly firstAudioMs?: number
  readonly totalMs: number
  readonly promptTokens: number
  /** Of `promptTokens`, those whose computation was reused from an earlier request. */
  readonly reusedTokens: number
  readonly reasoningTokens: number
  readonly textTokens: number
  readonly audioFrames: number
  /** Generated thinker tokens a second, from the first on. */
  readonly tokensPerSecond?: number
  /**
   * Real-time factor: seconds of work per second of audio, from the first token on; below 1 is faster than playback.
   */
  readonly realTimeFactor?: number
}

/** Milliseconds, from any fixed moment. */
export type Clock = () => number

export class Stopwatch {
  readonly #clock: Clock
  readonly #arrived: number
  #admitted: number | undefined
  #firstToken: number | undefined
  #firstAudio: number | undefined
  #lastToken: number | undefined
  #samples = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#arrived = clock()
  }

  admitted(): void {
    this.#admitted ??= this.#clock()
  }

  token(): void {
    this.#lastToken = this.#clock()
    this.#firstToken ??= this.#lastToken
  }

  audio(samples: number): void {
    this.#firstAudio ??= this.#clock()
    this.#samples += samples
  }

  /** @param sampleRate of the audio, hertz. */
  report(
    counts: Pick<
      RequestMetrics,
      'id' | 'outcome' | 'promptTokens' | 'reusedTokens' | 'reasoningTokens' | 'textTokens' | 'audioFrames'
    >,
    sampleRate: number,
  ): RequestMetrics {
    const now = this.#clock()
    const generated = counts.reasoningTokens + counts.textTokens
    const writing = this.#firstToken === undefined ? 0 : (this.#lastToken ?? now) - this.#firstToken
    return {
      ...counts,
      queuedMs: (this.#admitted ?? now) - this.#arrived,
      ...(this.#firstToken !== undefined && { firstTokenMs: this.#firstToken - this.#arrived }),
      ...(this.#firstAudio !== undefined && { firstAudioMs: this.#firstAudio - this.#arrived }),
      totalMs: now - this.#arrived,
      ...(writing > 0 && generated > 1 && { tokensPerSecond: ((generated - 1) * 1000) / writing }),
      ...(this.#samples > 0 &&
        this.#firstToken !== undefined && {
          realTimeFactor: (now - this.#firstToken) / 1000 / (this.#samples / sampleRate),
        }),
    }
  }
}
