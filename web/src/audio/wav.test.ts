import { describe, expect, it } from 'vitest'
import { fitPeaks, Peaks } from './peaks.ts'
import { joinPcm } from '../../../src/arithmetic/pcm.ts'
import { encodeWav, PcmDecoder } from './wav.ts'

describe('PCM', () => {
  it('decodes base64 pieces, whole samples or not', () => {
    const samples = Int16Array.from([0, -2, 32767, -32768, 5])
    const bytes = Buffer.from(samples.buffer)
    for (let cut = 0; cut <= bytes.length; cut++) {
      const decoder = new PcmDecoder()
      const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)].map((part) =>
        decoder.decode(part.toString('base64')),
      )
      expect(joinPcm(pieces)).toEqual(samples)
    }
    // The first bytes of the guide's own sample.
    expect([...new PcmDecoder().decode('/v8AAAAA')]).toEqual([-2, 0, 0])
  })

  it('writes a WAV file other programs read', async () => {
    const wav = Buffer.from(await encodeWav(Int16Array.from([1, -1, 2]), 24_000).arrayBuffer())
    expect(wav.toString('latin1', 0, 4)).toBe('RIFF')
    expect(wav.readUInt32LE(4)).toBe(wav.length - 8)
    expect(wav.toString('latin1', 8, 16)).toBe('WAVEfmt ')
    expect([wav.readUInt16LE(20), wav.readUInt16LE(22), wav.readUInt32LE(24), wav.readUInt32LE(28)]).toEqual([
      1, 1, 24_000, 48_000,
    ])
    expect([wav.readUInt16LE(32), wav.readUInt16LE(34), wav.readUInt32LE(40)]).toEqual([2, 16, 6])
    expect([wav.readInt16LE(44), wav.readInt16LE(46), wav.readInt16LE(48)]).toEqual([1, -1, 2])
  })
})

describe('peaks', () => {
  it('keeps the loudest of each stretch, however the audio is cut', () => {
    const samples = new Int16Array(480 * 3)
    samples[10] = -16384
    samples[480 + 5] = 8192
    const whole = Peaks.of(samples).bins
    const pieces = new Peaks()
    for (let i = 0; i < samples.length; i += 77) pieces.add(samples.subarray(i, i + 77))
    expect(whole).toEqual([0.5, 0.25, 0])
    expect(pieces.bins).toEqual(whole)
    expect(fitPeaks([1, 2, 3, 4, 9, 6, 7], 3)).toEqual([2, 4, 9])
    expect(fitPeaks([1, 2], 5)).toEqual([1, 2])
  })
})
