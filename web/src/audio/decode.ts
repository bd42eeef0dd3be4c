/**
 * An audio file in the player's format: 24 kHz mono, 16 bit.
 *
 * In: a file of a kind that the browser supports. Out: samples, kept as long as the file is. Rejects for other files.
 */
import { toInt16 } from '../../../src/arithmetic/pcm.ts'
import { mixDown } from './wav.ts'
import { SPEECH_RATE } from './speech-player.ts'

const decoded = new WeakMap<Blob, Promise<Int16Array>>()

async function decode(blob: Blob): Promise<Int16Array> {
  // An offline context resamples to its own rate.
  const context = new OfflineAudioContext(1, 1, SPEECH_RATE)
  return toInt16(mixDown(await context.decodeAudioData(await blob.arrayBuffer())))
}

export function decodeSpeech(blob: Blob): Promise<Int16Array> {
  let samples = decoded.get(blob)
  if (samples === undefined) {
    samples = decode(blob)
    decoded.set(blob, samples)
  }
  return samples
}
