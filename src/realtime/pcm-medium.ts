/** Decoded samples as the contract's audio medium. */
import { createHash } from 'node:crypto'
import type { AudioMedium } from '../contract/index.ts'
import { encodeWav } from '../media/index.ts'

/** `samples`: mono, in [-1, 1]. They must not change afterwards. */
export function pcmMedium(samples: Float32Array, sampleRate: number): AudioMedium {
  const digest = createHash('sha256').update(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength))
  return {
    kind: 'audio',
    files: [
      {
        mimeType: 'audio/wav',
        size: 44 + samples.length * 2,
        bytes: async (signal) => {
          signal?.throwIfAborted()
          return encodeWav(samples, sampleRate)
        },
      },
    ],
    facts: { sampleRate, samples: samples.length },
    exact: true,
    contentKey: pcmKey(sampleRate, digest.digest('hex')),
    decode: async (signal) => {
      signal?.throwIfAborted()
      return { sampleRate, samples }
    },
    release: () => undefined,
  }
}

/** The content key of samples. `digest`: hexadecimal SHA-256 of their 32-bit floats. */
export function pcmKey(sampleRate: number, digest: string): string {
  return `pcm:${sampleRate}:${digest}`
}
