/**
 * Plans the loop's next step: which replies' speech pauses, and how long a chunk of prefill may take.
 *
 * In: the status of each live request, and the time. Out: a {@link StepPlan}. Speech has to be generated in real time,
 * not faster. Speech that is well ahead of its playback pauses for prefill, for replies without audio yet, and for
 * speech that is behind. Pure.
 */

/** The status of one request's speech. */
export interface SpeechStatus {
  /** Whether a step has work for it. */
  readonly canWork: boolean
  /** Seconds of audio sent. */
  readonly sentSeconds: number
  /** Time of its first audio, milliseconds. Undefined before. */
  readonly firstSentAt: number | undefined
  /** Whether it paused in the previous step. */
  readonly paused: boolean
}

/** The status of one request. */
export interface RequestStatus {
  /** A step can encode its media or prefill its prompt. */
  readonly canPrefill: boolean
  /** A step can generate its next token. */
  readonly canDecode: boolean
  /** Absent for a reply without speech. */
  readonly speech?: SpeechStatus
}

export interface StepPlan {
  /** For each request, whether its speech pauses in this step. */
  readonly pauseSpeech: readonly boolean[]
  /** Longest time that a chunk of prefill may take, milliseconds. */
  readonly maxChunkMs: number
}

/** Speech pauses when this many seconds of audio are ahead of playback, and resumes at the second value. */
const PAUSE_ABOVE = 1.5
const RESUME_BELOW = 1
/** Seconds of audio ahead of playback that must remain after a chunk of prefill. */
const AUDIO_MARGIN = 0.5
/** Limits of a prefill chunk's duration while other requests are active, milliseconds. */
const MIN_CHUNK_MS = 250
const MAX_CHUNK_MS = 1000
/** Duration of a prefill chunk while no other request is active: a new request waits for its end. */
const IDLE_CHUNK_MS = 3000

/** Seconds of audio sent and not played yet, negative when playback has stalled. Undefined before the first audio. */
export function secondsAhead(
  { sentSeconds, firstSentAt }: Pick<SpeechStatus, 'sentSeconds' | 'firstSentAt'>,
  now: number,
): number | undefined {
  return firstSentAt === undefined ? undefined : sentSeconds - (now - firstSentAt) / 1000
}

/** Plans one step. `now`: milliseconds, on the clock of `firstSentAt`. */
export function planStep(statuses: readonly RequestStatus[], now: number): StepPlan {
  const ahead = statuses.map(({ speech }) => (speech ? secondsAhead(speech, now) : undefined))
  const wellAhead = statuses.map(
    ({ speech }, i) => speech !== undefined && (ahead[i] ?? -Infinity) > (speech.paused ? RESUME_BELOW : PAUSE_ABOVE),
  )
  const waits = ({ canPrefill, canDecode, speech }: RequestStatus, i: number): boolean =>
    canPrefill || (canDecode && ahead[i] === undefined) || (speech?.canWork === true && !wellAhead[i])
  const anyWaits = statuses.some(waits)
  const allowances = statuses.map(({ canDecode, speech }, i) => {
    if (ahead[i] === undefined) return canDecode || speech?.canWork ? MIN_CHUNK_MS : Infinity
    return canDecode || speech?.canWork ? (ahead[i] - AUDIO_MARGIN) * 1000 : Infinity
  })
  const least = Math.min(Infinity, ...allowances)
  return {
    pauseSpeech: wellAhead.map((is) => is && anyWaits),
    maxChunkMs: least === Infinity ? IDLE_CHUNK_MS : Math.max(MIN_CHUNK_MS, Math.min(MAX_CHUNK_MS, least)),
  }
}
