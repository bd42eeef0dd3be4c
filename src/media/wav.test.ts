import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { dominantHz, loudness } from '../../testing/tones.ts'
import { waveFile } from '../../testing/wave-file.ts'
import { decodeWav, encodeWav, wavHeader } from './wav.ts'

const file = (name: string) => readFileSync(new URL(`../../testdata/media/${name}`, import.meta.url))

describe('WAVE files', () => {
  it('are read as they were written', () => {
    const samples = Int16Array.from([0, 1, -1, 32_767, -32_768, 12_345])
    const read = decodeWav(encodeWav(samples, 24_000))
    expect(read).toMatchObject({ sampleRate: 24_000, channels: 1, bitsPerSample: 16 })
    expect(Array.from(read.samples, (sample) => sample * 32_768)).toEqual(Array.from(samples))
  })

  it('have floats clipped and NaN replaced by silence', () => {
    const read = decodeWav(encodeWav(Float32Array.from([0.5, 2, -2, Number.NaN]), 8000))
    expect(Array.from(read.samples, (sample) => Math.round(sample * 32_768))).toEqual([16_384, 32_767, -32_768, 0])
  })

  it('of unknown length are read to the end', () => {
    const pcm = Buffer.from(Int16Array.from([100, 200]).buffer)
    expect(decodeWav(Buffer.concat([wavHeader(24_000), pcm])).samples).toHaveLength(2)
  })

  it.each([
    ['tone.wav', 16_000, 16],
    ['odd-rate.wav', 11_025, 8],
    ['float.wav', 48_000, 32],
  ])('written by FFmpeg (%s) are read', (name, sampleRate, bitsPerSample) => {
    const read = decodeWav(file(name))
    expect(read).toMatchObject({ sampleRate, bitsPerSample, channels: 1 })
    expect(read.samples).toHaveLength(sampleRate)
    expect(read.samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0)).toBeCloseTo(0.5, 1)
  })

  it.each([
    { bits: 8 },
    { bits: 16, validBits: 12 },
    { bits: 24, validBits: 20 },
    { bits: 32, validBits: 24 },
    { bits: 32, float: true },
    { bits: 64, float: true },
  ])('of $bits bits are read in both byte orders and header forms (valid bits $validBits, float $float)', (row) => {
    for (const bigEndian of [false, true]) {
      for (const extensible of row.validBits === undefined ? [false, true] : [true]) {
        const { samples, sampleRate, bitsPerSample } = decodeWav(waveFile({ ...row, bigEndian, extensible }))
        expect([samples.length, sampleRate, bitsPerSample]).toEqual([16_000, 16_000, row.bits])
        expect(dominantHz(samples, 0, 1)).toBeCloseTo(440, -1)
        expect(loudness(samples, 0, 1)).toBeCloseTo(0.5 / Math.SQRT2, 2)
      }
    }
  })

  it('that are not supported are refused', () => {
    expect(() => decodeWav(Buffer.from('RIFF'))).toThrow('not a WAVE file')
    expect(() => decodeWav(file('mulaw.wav'))).toThrow('format tag 7')
    expect(() => decodeWav(file('tone.wav').subarray(0, 30))).toThrow(RangeError)
  })
})
