/**
 * PCM of the page: WAV files as blobs, Base64 pieces, the mean of channels. 16-bit little-endian mono throughout.
 *
 * Formats are those of the server: `src/arithmetic/pcm.ts`.
 */

import { PcmReader, wavHeader } from '../../../src/arithmetic/pcm.ts'

/** A WAV file of mono samples at `sampleRate` Hz. */
export function encodeWav(samples: Int16Array, sampleRate: number): Blob {
  return new Blob([wavHeader(sampleRate, samples.byteLength), samples.slice()], { type: 'audio/wav' })
}

/** The mean of an audio buffer's channels. */
export function mixDown(buffer: AudioBuffer): Float32Array {
  const mono = new Float32Array(buffer.length)
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel)
    for (let i = 0; i < mono.length; i++) mono[i]! += samples[i]! / buffer.numberOfChannels
  }
  return mono
}

/** Decodes base64 pieces of one PCM stream; a byte left over at a piece's end waits for the next piece. */
export class PcmDecoder {
  readonly #reader = new PcmReader()

  decode(base64: string): Int16Array {
    return this.#reader.read(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)))
  }
}
