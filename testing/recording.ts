/** The recording that tests and benchmarks of speech use. */
import { readFileSync } from 'node:fs'
import { decodeWav } from '../src/media/index.ts'

/** Two English sentences with a second of silence between and after them, 16 kHz mono. */
export const twoSentences: Float32Array = decodeWav(
  readFileSync(new URL('../testdata/silero-vad/speech.wav', import.meta.url)),
).samples
