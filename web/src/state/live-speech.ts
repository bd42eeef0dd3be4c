/**
 * Speech of this page's replies: the pieces of the arriving one, and the waveform outlines of the others.
 *
 * Kept out of the store, because it changes many times a second.
 */
import { Peaks } from '../audio/peaks.ts'
import { joinPcm } from '../../../src/arithmetic/pcm.ts'

export interface LiveSpeech {
  pieces: Int16Array[]
  samples: number
  peaks: Peaks
}

const live = new Map<string, LiveSpeech>()
const outlines = new WeakMap<Int16Array, Peaks>()

export function addSpeech(turnId: string, samples: Int16Array): LiveSpeech {
  let speech = live.get(turnId)
  if (speech === undefined) {
    speech = { pieces: [], samples: 0, peaks: new Peaks() }
    live.set(turnId, speech)
  }
  speech.pieces.push(samples)
  speech.samples += samples.length
  speech.peaks.add(samples)
  return speech
}

export function liveSpeech(turnId: string): LiveSpeech | undefined {
  return live.get(turnId)
}

/** The whole speech of a reply that is over, or undefined when it had none. */
export function finishSpeech(turnId: string): Int16Array | undefined {
  const speech = live.get(turnId)
  live.delete(turnId)
  if (speech === undefined || speech.samples === 0) return undefined
  const pcm = joinPcm(speech.pieces)
  outlines.set(pcm, speech.peaks)
  return pcm
}

export function outlineOf(pcm: Int16Array): Peaks {
  let peaks = outlines.get(pcm)
  if (peaks === undefined) {
    peaks = Peaks.of(pcm)
    outlines.set(pcm, peaks)
  }
  return peaks
}
