/**
 * One request's latencies and stage times, for logs and metrics.
 *
 * In: events of the request, and the stages it enters. Out: {@link RequestMetrics} at its end. The clock is passed in.
 */

/** What a request spends its time on, in the order of its life. */
export const stages = [
  /** Waiting for a slot, or for memory. */
  'queue',
  /** Preparation of the prompt, download and decoding of media. */
  'media',
  'encode',
  'prefill',
  'decode',
  /** Sampling of a token, and its text. */
  'sampling',
  'talker',
  'code-predictor',
  /** Other parts of a speech step: the talker's inputs, sampling of codes. */
  'speech',
  /** The vocoder, while no step works for the request. */
  'vocoder',
  /** Steps for other requests. */
  'others',
  /** Paused, because its client reads too slowly. */
  'reader',
  /** None of these: the loop itself. */
  'idle',
] as const
export type Stage = (typeof stages)[number]

export interface RequestMetrics {
  readonly id: string
  readonly outcome: 'stop' | 'length' | 'tool_calls' | 'aborted' | 'failed'
  /** Milliseconds from arrival until it got a slot. */
  readonly queuedMs: number
  /** Time to first token, milliseconds. Absent when no token was generated. */
  readonly firstTokenMs?: number
  /** Time to first audio, milliseconds. Absent when there was none. */
  readonly firstAudioMs?: number
  readonly totalMs: number
  readonly promptTokens: number
  /** The part of `promptTokens` reused from the prefix cache. */
  readonly reusedTokens: number
  readonly reasoningTokens: number
  readonly textTokens: number
  readonly audioFrames: number
  /** Generated thinker tokens per second, after the first token. */
  readonly tokensPerSecond?: number
  /** Real-time factor: time from the first token to the end, divided by the length of the audio. */
  readonly realTimeFactor?: number
  /** Milliseconds in each stage. They sum to `totalMs`. */
  readonly stages: Readonly<Partial<Record<Stage, number>>>
  /** Milliseconds in which the vocoder worked for the request, in parallel with other stages or not. */
  readonly vocoderMs: number
}

/** Milliseconds since an arbitrary fixed time. */
export type Clock = () => number

export class Stopwatch {
  readonly #clock: Clock
  readonly #arrived: number
  #admitted: number | undefined
  #firstToken: number | undefined
  #firstAudio: number | undefined
  #lastToken: number | undefined
  #samples = 0
  readonly #stages: Partial<Record<Stage, number>> = {}
  #stage: Stage = 'queue'
  #vocoding = false
  #vocoderMs = 0
  /** When it entered the current stage. */
  #since: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#arrived = clock()
    this.#since = this.#arrived
  }

  /** Enters a stage. `vocoding`: the vocoder works for the request at the same time. */
  enter(stage: Stage, vocoding: boolean): void {
    this.#spend(this.#clock())
    this.#stage = stage
    this.#vocoding = vocoding
  }

  #spend(now: number): void {
    const spent = now - this.#since
    this.#since = now
    if (spent > 0) this.#stages[this.#stage] = (this.#stages[this.#stage] ?? 0) + spent
    if (this.#vocoding) this.#vocoderMs += spent
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
    this.#spend(now)
    const generated = counts.reasoningTokens + counts.textTokens
    const decoding = this.#firstToken === undefined ? 0 : (this.#lastToken ?? now) - this.#firstToken
    return {
      ...counts,
      queuedMs: (this.#admitted ?? now) - this.#arrived,
      ...(this.#firstToken !== undefined && { firstTokenMs: this.#firstToken - this.#arrived }),
      ...(this.#firstAudio !== undefined && { firstAudioMs: this.#firstAudio - this.#arrived }),
      totalMs: now - this.#arrived,
      stages: { ...this.#stages },
      vocoderMs: this.#vocoderMs,
      ...(decoding > 0 && generated > 1 && { tokensPerSecond: ((generated - 1) * 1000) / decoding }),
      ...(this.#samples > 0 &&
        this.#firstToken !== undefined && {
          realTimeFactor: (now - this.#firstToken) / 1000 / (this.#samples / sampleRate),
        }),
    }
  }
}
