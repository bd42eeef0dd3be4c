/**
 * Who takes part in the loop's next turn, when some wait and others speak.
 *
 * In: how each live request stands, and the time. Out: which replies' speech yields, and how long a chunk of prompt
 * may take. A listener needs real time, not more: speech that is well ahead of its playback yields to prompts, to
 * text that is read as it comes, and to speech that is behind. Pure.
 */

/** How one request's speech stands. */
export interface SpeechStanding {
  /** Whether a step could do anything for it. */
  readonly canWork: boolean
  /** Seconds of audio sent. */
  readonly sentSeconds: number
  /** When its first audio was sent, milliseconds; undefined before. */
  readonly firstSentAt: number | undefined
  /** It yielded in the turn before. */
  readonly yielded: boolean
}

/** How one request stands. */
export interface Standing {
  /** A step could encode its media or prefill its prompt. */
  readonly reads: boolean
  /** A step could generate its next token. */
  readonly writes: boolean
  /** Absent when it does not speak. */
  readonly speech?: SpeechStanding
}

export interface Turn {
  /** For each request, whether its speech is left out. */
  readonly yields: readonly boolean[]
  /** The longest that a chunk of prompt may take. */
  readonly chunkMilliseconds: number
}

/** Seconds of audio ahead of playback from which speech yields, and down to which it then does. */
const ENOUGH = 1.5
const RESUME = 1
/** Seconds of audio that a chunk of prompt leaves to whoever speaks. */
const RESERVE = 0.5
/** Milliseconds of a chunk of prompt beside others, at least, and beside speech that is well ahead, at most. */
const SHORTEST = 250
const LONGEST = 1000
/** Milliseconds of a chunk that nobody waits for yet: whoever comes meanwhile waits until it is over. */
const UNDISTURBED = 3000

/** Seconds of audio that its listener has not played yet; undefined before the first was sent. May be negative. */
export function secondsAhead(
  { sentSeconds, firstSentAt }: Pick<SpeechStanding, 'sentSeconds' | 'firstSentAt'>,
  now: number,
): number | undefined {
  return firstSentAt === undefined ? undefined : sentSeconds - (now - firstSentAt) / 1000
}

/** Shares one turn. `now`: milliseconds, of the clock of `firstSentAt`. */
export function shareTurn(standings: readonly Standing[], now: number): Turn {
  const ahead = standings.map(({ speech }) => (speech ? secondsAhead(speech, now) : undefined))
  const wellAhead = standings.map(
    ({ speech }, i) => speech !== undefined && (ahead[i] ?? -Infinity) > (speech.yielded ? RESUME : ENOUGH),
  )
  const needs = ({ reads, writes, speech }: Standing, i: number): boolean =>
    reads || (writes && ahead[i] === undefined) || (speech?.canWork === true && !wellAhead[i])
  const anyone = standings.some(needs)
  const patience = standings.map(({ writes, speech }, i) => {
    if (ahead[i] === undefined) return writes || speech?.canWork ? SHORTEST : Infinity
    return writes || speech?.canWork ? (ahead[i] - RESERVE) * 1000 : Infinity
  })
  const least = Math.min(Infinity, ...patience)
  return {
    yields: wellAhead.map((is) => is && anyone),
    chunkMilliseconds: least === Infinity ? UNDISTURBED : Math.max(SHORTEST, Math.min(LONGEST, least)),
  }
}
