/**
 * Splits a recording at its pauses, for transcripts with timestamps.
 *
 * In: 16 kHz mono samples. Out: segments of speech up to a maximum length, in samples, without the silence between
 * them.
 */
import { WINDOW_SAMPLES, type VoiceModel } from './silero.ts'
import { TurnDetector } from './turn-detector.ts'

export interface SpeechSegment {
  readonly from: number
  readonly to: number
}

const RATE = 16_000

/** Finds segments. `yieldToEventLoop` is called between windows. Rejects with the signal's reason once aborted. */
export async function speechSegments(
  samples: Float32Array,
  model: VoiceModel,
  options: {
    readonly longestSeconds: number
    readonly yieldToEventLoop: () => Promise<void>
    readonly signal: AbortSignal
  },
): Promise<SpeechSegment[]> {
  const stream = model.stream()
  const detection = {
    type: 'server',
    threshold: 0.5,
    prefixPaddingMs: 200,
    silenceMs: 500,
    createResponse: false,
    interruptResponse: false,
  } as const
  const detector = new TurnDetector({ detection, sampleRate: RATE, windowSamples: WINDOW_SAMPLES, startsAt: 0 })
  const longest = options.longestSeconds * RATE
  const segments: SpeechSegment[] = []
  let from: number | undefined
  const close = (to: number): void => {
    if (from !== undefined) segments.push({ from, to: Math.min(to, samples.length) })
    from = undefined
  }
  for (let at = 0, windows = 0; at < samples.length; at += WINDOW_SAMPLES, windows += 1) {
    const window = new Float32Array(WINDOW_SAMPLES)
    window.set(samples.subarray(at, at + WINDOW_SAMPLES))
    const change = detector.push(stream.push(window))
    if (change?.type === 'start') from = Math.max(change.at, segments.at(-1)?.to ?? 0)
    else if (change?.type === 'stop') close(change.at)
    else if (from !== undefined && at + 2 * WINDOW_SAMPLES - from > longest) {
      close(at + WINDOW_SAMPLES)
      // Speech continues, so the next segment starts at once.
      from = at + WINDOW_SAMPLES
    }
    if (windows % 32 === 31) {
      await options.yieldToEventLoop()
      options.signal.throwIfAborted()
    }
  }
  close(samples.length)
  return segments
}
