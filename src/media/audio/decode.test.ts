import { describe, expect, it } from 'vitest'
import { type AudioTrack, makeMedia } from '../../../testing/make-media.ts'
import { dominantHz, loudness } from '../../../testing/tones.ts'
import { waveFile } from '../../../testing/wave-file.ts'
import type { Send } from '../decoder/worker.ts'
import { type AudioLimits, defaultAudioLimits } from '../limits.ts'
import { decodeAudio } from './decode.ts'

const decode = async (file: Buffer, limits: AudioLimits = {}) => {
  const pieces: Uint8Array[] = []
  let warnings: readonly string[] = []
  const send: Send = async (header, payload) => {
    if (header.type === 'pcm') pieces.push(payload!)
    else if (header.type === 'done') warnings = header.warnings
  }
  await decodeAudio({ memory: file }, { ...defaultAudioLimits, ...limits }, send)
  const samples = new Float32Array(new Uint8Array(Buffer.concat(pieces)).buffer)
  return { samples, seconds: samples.length / 16_000, warnings }
}

const failure = async (file: Buffer) =>
  decode(file).then(
    () => 'none',
    (error: Error & { code?: string }) => `${error.code}: ${error.message}`,
  )

const tone = (hz: number, seconds = 2, start = 0) => [{ start, seconds, hz }]
const makeAudio = (container: string, codec: string, options: Partial<AudioTrack> = {}, muxer = {}) =>
  makeMedia({ container, muxer, tracks: [{ audio: { codec, tones: tone(440), ...options } }] })

describe('WAVE files of every width', () => {
  const integers = [[8], [16], [16, 12], [24], [24, 20], [32], [32, 24], [32, 20], [32, 16]] as const
  const rows = [false, true].flatMap((bigEndian) =>
    [false, true].flatMap((extensible) => [
      ...integers
        .filter(([, validBits]) => extensible || validBits === undefined)
        .map(([bits, validBits]) => ({ bits, validBits: validBits ?? bits, float: false, bigEndian, extensible })),
      { bits: 32, validBits: 32, float: true, bigEndian, extensible },
      { bits: 64, validBits: 64, float: true, bigEndian, extensible },
    ]),
  )
  rows.push({ bits: 32, validBits: 24, float: true, bigEndian: false, extensible: true })

  it.each(rows)(
    'decodes $validBits valid bits of $bits, float $float, big-endian $bigEndian, extensible $extensible',
    async (row) => {
      for (const channels of [1, 2]) {
        // oxlint-disable-next-line no-await-in-loop -- one file at a time
        const { samples, seconds, warnings } = await decode(waveFile({ ...row, channels }))
        expect(seconds).toBe(1)
        expect(dominantHz(samples, 0.1, 0.9)).toBeCloseTo(440, -1)
        expect(loudness(samples, 0.1, 0.9)).toBeCloseTo(0.5 / Math.SQRT2, 2)
        expect(warnings).toEqual([])
      }
    },
  )
})

it('decodes 24 bits in 32 with a plain header', async () => {
  const file = waveFile({ bits: 32, validBits: 24 })
  file.writeUInt16LE(24, 34)
  const { samples } = await decode(file)
  expect(loudness(samples, 0.1, 0.9)).toBeCloseTo(0.5 / Math.SQRT2, 2)
})

describe('WAVE with 64-bit sizes', () => {
  const long = (...values: number[]) => Buffer.from(new BigUint64Array(values.map(BigInt)).buffer)

  /** RF64 with the size of the samples in its `ds64` chunk; 0 is unknown. */
  const rf64 = (tag: 'RF64' | 'BW64', size: number) => {
    const wave = waveFile({ bits: 16 })
    wave.write(tag)
    wave.writeUInt32LE(0xffff_ffff, 4)
    wave.writeUInt32LE(0xffff_ffff, wave.indexOf('data') + 4)
    const sizes = Buffer.concat([long(wave.length, size, 16_000), Buffer.alloc(4)])
    return Buffer.concat([wave.subarray(0, 12), Buffer.from('ds64\x1c\0\0\0'), sizes, wave.subarray(12)])
  }

  it.each(['RF64', 'BW64'] as const)('%s is read to its end, and a truncated one has a warning', async (tag) => {
    for (const size of [32_000, 0]) {
      // oxlint-disable-next-line no-await-in-loop -- one file at a time
      const { seconds, warnings } = await decode(rf64(tag, size))
      expect([seconds, warnings]).toEqual([1, []])
    }
    const { warnings } = await decode(rf64(tag, 32_000).subarray(0, -16_000))
    expect(warnings.join()).toMatch(/cut off/)
  })

  it('Wave64 written to a pipe is read to its end', async () => {
    const file = makeAudio('w64', 'pcm_s16le', { rate: 16_000 })
    file.writeBigUInt64LE(2n ** 64n - 1n, 16)
    file.writeBigUInt64LE(2n ** 63n - 1n, file.indexOf('data') + 16)
    const { seconds, warnings } = await decode(file)
    expect([seconds, warnings]).toEqual([2, []])
  })
})

describe('audio codecs', () => {
  it.each([
    ['G.722 in WAVE', 'wav', 'g722', { rate: 16_000 }],
    ['G.726 in WAVE', 'wav', 'g726', { rate: 8000, options: { code_size: '4' } }],
    ['Microsoft ADPCM', 'wav', 'adpcm_ms', {}],
    ['A-law in AU', 'au', 'pcm_alaw', { rate: 8000 }],
    ['24 bits in AIFF', 'aiff', 'pcm_s24be', {}],
    ['WavPack in Matroska', 'matroska', 'wavpack', {}],
    ['TrueHD in Matroska', 'matroska', 'truehd', { channels: 2 }],
    ['24 bits in Wave64', 'w64', 'pcm_s24le', {}],
  ])('decodes %s', async (_name, container, codec, options) => {
    const { samples, seconds, warnings } = await decode(makeAudio(container, codec, options))
    expect(seconds).toBeCloseTo(2, 0)
    expect(dominantHz(samples, 0.5, 1.5)).toBeCloseTo(440, -1)
    expect(warnings).toEqual([])
  })
})

describe('a chained Ogg file', () => {
  const opus = (hz: number, channels: number) => makeAudio('ogg', 'libopus', { tones: tone(hz), channels })
  it.each([
    ['the number of channels changes', opus(440, 1), opus(880, 2)],
    [
      'the sample rate changes',
      makeAudio('ogg', 'libvorbis', { rate: 44_100 }),
      makeAudio('ogg', 'libvorbis', { tones: tone(880), rate: 22_050 }),
    ],
    ['the codec changes', makeAudio('ogg', 'flac'), opus(880, 1)],
    ['nothing changes', opus(440, 1), opus(880, 1)],
  ])('is decoded to its end when %s', async (_name, first, second) => {
    const { samples, seconds, warnings } = await decode(Buffer.concat([first, second]))
    expect(seconds).toBeCloseTo(4, 1)
    expect(dominantHz(samples, 0.2, 1.8)).toBeCloseTo(440, -1)
    expect(dominantHz(samples, 2.2, 3.8)).toBeCloseTo(880, -1)
    expect(warnings).toEqual([])
  })

  it('has a warning for a link that cannot be read', async () => {
    const broken = Buffer.from(opus(880, 1))
    broken.write('XpusHead', broken.indexOf('OpusHead'), 'latin1')
    const { seconds, warnings } = await decode(Buffer.concat([opus(440, 1), broken, opus(440, 2)]))
    expect(seconds).toBeCloseTo(4, 1)
    expect(warnings.join()).toMatch(/part 2 of 3 cannot be read/)
  })

  it('is checked against the limits as a whole', async () => {
    const chain = Buffer.concat([opus(440, 1), opus(440, 1), opus(440, 1)])
    await expect(decode(chain, { maxDurationSeconds: 5 })).rejects.toMatchObject({ code: 'audio_too_long' })
    await expect(decode(chain, { minDurationSeconds: 5 })).resolves.toMatchObject({ warnings: [] })
  })
})

describe('gaps, clock jumps and late starts', () => {
  const tones = [...tone(440, 1), ...tone(880, 1, 3)]
  it.each([
    ['matroska', 'libopus'],
    ['ogg', 'libvorbis'],
    ['mpegts', 'mp2'],
    ['mp4', 'aac'],
    ['matroska', 'pcm_s16le'],
    ['asf', 'wmav2'],
  ])('a gap in %s of %s becomes silence', async (container, codec) => {
    const { samples, warnings } = await decode(makeAudio(container, codec, { tones, rate: 48_000 }))
    expect(dominantHz(samples, 0.2, 0.8)).toBeCloseTo(440, -1)
    expect(loudness(samples, 1.3, 2.8)).toBeLessThan(0.02)
    expect(dominantHz(samples, 3.2, 3.8)).toBeCloseTo(880, -1)
    expect(warnings).toEqual([])
  })

  it('audio continues where the clock jumps or restarts', async () => {
    const part = (start: number) => makeAudio('mpegts', 'aac', {}, { output_ts_offset: String(start) })
    for (const file of [Buffer.concat([part(0), part(7000)]), Buffer.concat([part(0), part(0)])]) {
      // oxlint-disable-next-line no-await-in-loop -- one file at a time
      const { samples, seconds } = await decode(file)
      expect(Math.abs(seconds - 4)).toBeLessThan(0.15)
      expect(dominantHz(samples, 2.3, 3.8)).toBeCloseTo(440, -1)
    }
  })

  it('finds audio that begins after the first seconds of a video', async () => {
    const file = makeMedia({
      container: 'vob',
      tracks: [{ video: { codec: 'mpeg2video', frames: 120 } }, { audio: { codec: 'mp2', tones: tone(440, 1, 10) } }],
    })
    const { seconds } = await decode(file)
    expect(seconds).toBeCloseTo(1, 0)
  })
})

describe('durations', () => {
  it('a duration estimated from the bit rate causes no warning', async () => {
    const rate = 16_000
    const quiet = makeAudio('adts', 'aac', { rate, tones: tone(0, 3), options: { b: '64000' } })
    const loud = makeAudio('adts', 'aac', { rate, tones: tone(440, 3) })
    const { seconds, warnings } = await decode(Buffer.concat([quiet, loud]))
    expect(seconds).toBeCloseTo(6, 0)
    expect(warnings).toEqual([])
  })

  const rows: [string, string, Partial<AudioTrack>][] = [
    ['wav', 'pcm_s16le', {}],
    ['wav', 'adpcm_ms', {}],
    ['w64', 'pcm_s16le', {}],
    ['aiff', 'pcm_s16be', {}],
    ['au', 'pcm_s16be', {}],
    ['caf', 'pcm_s16le', {}],
    ['flac', 'flac', {}],
    ['ogg', 'libopus', {}],
    ['matroska', 'aac', {}],
    ['asf', 'wmav2', { channels: 2, rate: 44_100 }],
    ['adts', 'aac', { rate: 44_100 }],
    ['ac3', 'ac3', { rate: 44_100 }],
    ['eac3', 'eac3', { rate: 44_100 }],
    ['mp2', 'mp2', { rate: 44_100 }],
  ]
  it.each(rows)(
    '%s of %s: a warning for a truncated file, none for a complete one',
    async (container, codec, options) => {
      const file = makeAudio(container, codec, options)
      expect((await decode(file)).warnings).toEqual([])
      for (const fraction of [0.6, 0.9]) {
        // oxlint-disable-next-line no-await-in-loop -- one file at a time
        const { warnings } = await decode(file.subarray(0, file.length * fraction))
        expect(warnings.join(), `${fraction}`).toMatch(/cut off|broken/)
      }
    },
  )

  it('FLAC: a warning even if only a few samples are missing', async () => {
    const file = makeAudio('flac', 'flac')
    const { seconds, warnings } = await decode(file.subarray(0, file.length * 0.96))
    expect(seconds).toBeGreaterThan(1.8)
    expect(warnings.join()).toMatch(/cut off: it has 1\.\d+ s of 2\.\d+ s/)
  })

  it.each([0, 0xffff_ffff, 0x7fff_ffff, 0x7fff_f000])(
    'WAVE written to a pipe, with a declared length of %d, is read to its end',
    async (size) => {
      const file = waveFile({ bits: 16 })
      file.writeUInt32LE(size, file.indexOf('data') + 4)
      const { seconds, warnings } = await decode(file)
      expect([seconds, warnings]).toEqual([1, []])
    },
  )
})

describe('audio tracks', () => {
  it('a track that can be decoded is preferred', async () => {
    const file = makeMedia({
      container: 'mp4',
      tracks: [{ audio: { codec: 'ac3', tones: tone(440) } }, { audio: { codec: 'aac', tones: tone(880) } }],
    })
    file.write('zzzz', file.indexOf('ac-3'), 'latin1')
    const { samples, warnings } = await decode(file)
    expect(dominantHz(samples, 0.5, 1.5)).toBeCloseTo(880, -1)
    expect(warnings.join()).toMatch(/track 1 \(unknown \(zzzz\)\)/)
  })

  it('the error names tracks that cannot be decoded', async () => {
    const file = makeAudio('mp4', 'ac3')
    file.write('zzzz', file.indexOf('ac-3'), 'latin1')
    expect(await failure(file)).toMatch(/^audio_illegal: .*track 1 \(unknown \(zzzz\)\)/)
    const withoutAudio = makeMedia({ container: 'mpegts', tracks: [{ video: { codec: 'mpeg2video', frames: 20 } }] })
    expect(await failure(withoutAudio)).toMatch(/^audio_illegal: .*no audio track/)
  })
})
