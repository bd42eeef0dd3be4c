/**
 * One request's cost, for logs and metrics.
 *
 * In: marks of time as the request goes along, and the stages it goes through. Out: {@link RequestMetrics} when it
 * ends. Pure; the clock is passed in.
 */

/** What is done for a request at a moment, in the order of a request's way. */
export const stages = [
  /** It waits for a place, or for memory. */
  'queue',
  /** Its prompt is laid out, its media are read and decoded. */
  'media',
  'encode',
  'prefill',
  'decode',
  /** Its token is chosen and becomes text. */
  'sampling',
  'talker',
  'code-predictor',
  /** The rest of a speech step: the talker's inputs, codes chosen by the host. */
  'speech',
  /** The vocoder, while nothing else is done for it. */
  'vocoder',
  /** Steps for other requests. */
  'others',
  /** It pauses, because its reader is behind. */
  'reader',
  /** Nothing of these: the loop itself. */
  'idle',
] as const
export type Stage = (typeof stages)[number]

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
   * Real-time factor: time to generate divided by the length of the audio, from the first token on.
   */
  readonly realTimeFactor?: number
  /** Milliseconds in each stage that it was in; they sum to `totalMs`. */
  readonly stages: Readonly<Partial<Record<Stage, number>>>
  /** Milliseconds in which audio of it was being made, beside other stages or not. */
  readonly vocoderMs: number
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
  readonly #stages: Partial<Record<Stage, number>> = {}
  #stage: Stage = 'queue'
  #speaking = false
  #vocoderMs = 0
  /** When it entered the stage it is in. */
  #since: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#arrived = clock()
    this.#since = this.#arrived
  }

  /** It is in this stage from now on. `speaking`: the vocoder has audio of it to make. */
  enter(stage: Stage, speaking: boolean): void {
    this.#spend(this.#clock())
    this.#stage = stage
    this.#speaking = speaking
  }

  #spend(now: number): void {
    const spent = now - this.#since
    this.#since = now
    if (spent > 0) this.#stages[this.#stage] = (this.#stages[this.#stage] ?? 0) + spent
    if (this.#speaking) this.#vocoderMs += spent
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
    const writing = this.#firstToken === undefined ? 0 : (this.#lastToken ?? now) - this.#firstToken
    return {
      ...counts,
      queuedMs: (this.#admitted ?? now) - this.#arrived,
      ...(this.#firstToken !== undefined && { firstTokenMs: this.#firstToken - this.#arrived }),
      ...(this.#firstAudio !== undefined && { firstAudioMs: this.#firstAudio - this.#arrived }),
      totalMs: now - this.#arrived,
      stages: { ...this.#stages },
      vocoderMs: this.#vocoderMs,
      ...(writing > 0 && generated > 1 && { tokensPerSecond: ((generated - 1) * 1000) / writing }),
      ...(this.#samples > 0 &&
        this.#firstToken !== undefined && {
          realTimeFactor: (now - this.#firstToken) / 1000 / (this.#samples / sampleRate),
        }),
    }
  }
}
