import { AV_PIX_FMT_YUV422P, AV_PIX_FMT_YUV422P10LE } from 'node-av/constants'
import { describe, expect, it } from 'vitest'
import { type AudioTrack, greyLevel, makeMedia, type VideoTrack } from '../../../testing/make-media.ts'
import { fieldParameterSets, fieldCodedVideo } from '../../../testing/field-coded-video.ts'
import { dominantHz, loudness } from '../../../testing/tones.ts'
import type { Send } from '../decoder/worker.ts'
import type { VideoFacts } from '../decoder/messages.ts'
import { defaultVideoLimits, type VideoLimits } from '../limits.ts'
import { decodeVideo } from './decode.ts'

interface Decoded {
  readonly numbers: number[]
  readonly timestamps: number[]
  readonly audio: Float32Array
  readonly warnings: readonly string[]
  readonly facts: VideoFacts
}

/** Number of the frame that has this grey in the middle of its RGB, of so many. */
const numberOf = (rgb: Uint8Array, width: number, height: number) => {
  const grey = rgb[(Math.floor(height / 2) * width + Math.floor(width / 2)) * 3]!
  return Math.round(((grey * 219) / 255 + 16 - greyLevel(0)) / 5)
}

const decode = async (file: Buffer, limits: VideoLimits = {}): Promise<Decoded> => {
  const numbers: number[] = []
  const timestamps: number[] = []
  const pieces: Uint8Array[] = []
  let warnings: readonly string[] = []
  let facts: VideoFacts | undefined
  const send: Send = async (header, payload) => {
    if (header.type === 'frame') {
      numbers.push(numberOf(payload!, header.width, header.height))
      timestamps.push(header.timestamp)
    } else if (header.type === 'pcm') pieces.push(payload!)
    else if (header.type === 'done') ({ warnings, video: facts } = header)
  }
  await decodeVideo({ memory: file }, { ...defaultVideoLimits, ...limits }, send)
  const bytes = new Uint8Array(Buffer.concat(pieces))
  return { numbers, timestamps, audio: new Float32Array(bytes.buffer), warnings, facts: facts! }
}

const failure = async (file: Buffer, limits: VideoLimits = {}) =>
  decode(file, limits).then(
    () => 'none',
    (error: Error & { code?: string }) => `${error.code}: ${error.message}`,
  )

const video = (codec: string, more: Partial<VideoTrack> = {}) => ({ video: { codec, frames: 40, ...more } })
const audio = (codec: string, more: Partial<AudioTrack> = {}) => ({
  audio: { codec, tones: [{ start: 0, seconds: 4, hz: 440 }], ...more },
})
const h264 = video('libx264', { options: { preset: 'veryfast' } })
const every = [0, 6, 11, 17, 22, 28, 33, 39]

/** Puts another four-character code in place of the `nth` one of a file. */
const renamed = (file: Buffer, from: string, to: string, nth = 0) => {
  const out = Buffer.from(file)
  let at = out.indexOf(from, 0, 'latin1')
  for (let i = 0; i < nth; i += 1) at = out.indexOf(from, at + 4, 'latin1')
  expect(at).toBeGreaterThan(0)
  out.write(to, at, 'latin1')
  return out
}

describe('interlaced video', () => {
  const large = { width: 720, height: 576, fps: 25, frames: 15 }
  it.each([
    ['H.264', 'mp4', 'libx264', {}],
    ['HEVC', 'mp4', 'libx265', { options: { 'x265-params': 'interlace=tff:log-level=none' } }],
    ['MPEG-2', 'mpegts', 'mpeg2video', {}],
    ['MPEG-2 in a program stream', 'vob', 'mpeg2video', {}],
    ['MPEG-4', 'avi', 'mpeg4', {}],
    ['ProRes', 'mov', 'prores_ks', { pixelFormat: AV_PIX_FMT_YUV422P10LE }],
    ['FFV1', 'matroska', 'ffv1', { pixelFormat: AV_PIX_FMT_YUV422P }],
    ['HuffYUV', 'avi', 'huffyuv', { pixelFormat: AV_PIX_FMT_YUV422P }],
  ])('%s', async (_name, container, codec, more) => {
    const { numbers, warnings } = await decode(
      makeMedia({ container, tracks: [video(codec, { interlaced: true, ...more })] }),
    )
    expect(numbers).toEqual(every)
    expect(warnings).toEqual([])
  })

  it.each(['mpegts', 'vob', 'matroska'])('H.264 whose fields are coded apart, in %s', async (container) => {
    const frames = fieldCodedVideo(Array.from({ length: 40 }, (_, i) => greyLevel(i)))
    const file = makeMedia({
      container,
      tracks: [{ h264: { frames, parameterSets: fieldParameterSets(), fps: 25, width: 64, height: 64 } }],
    })
    const { numbers, facts, warnings } = await decode(file)
    expect([facts.sourceFrameCount, Math.round(facts.sourceFps)]).toEqual([40, 25])
    expect(facts.durationSeconds).toBeCloseTo(1.6, 1)
    expect(numbers).toEqual([0, 13, 26, 39])
    expect(warnings).toEqual([])
  })

  it('DV', async () => {
    const { numbers } = await decode(makeMedia({ container: 'mov', tracks: [video('dvvideo', large)] }))
    expect(numbers).toEqual([0, 5, 9, 14])
  })
})

describe('tracks', () => {
  const two = (codec: string) =>
    makeMedia({
      container: 'mp4',
      tracks: [h264, audio(codec), audio('aac', { tones: [{ start: 0, seconds: 4, hz: 880 }] })],
    })

  it('takes the audio that can be decoded, and says what it passed over', async () => {
    const unreadable = await decode(renamed(two('ac3'), 'ac-3', 'zzzz'))
    expect(dominantHz(unreadable.audio, 1, 3)).toBeCloseTo(880, -1)
    expect(unreadable.warnings).toEqual(['track 2 (unknown (zzzz)) cannot be decoded and was passed over'])
    expect(dominantHz((await decode(two('ac3'))).audio, 1, 3)).toBeCloseTo(440, -1)
  })

  it('tries the first packets where a decoder alone is not enough', async () => {
    const wrong = await decode(renamed(two('flac'), 'fLaC', 'ac-3'))
    expect(dominantHz(wrong.audio, 1, 3)).toBeCloseTo(880, -1)
    expect(wrong.warnings.join()).toMatch(/track 2 .*cannot be decoded/)
  })

  it('takes the video that can be decoded', async () => {
    const file = makeMedia({ container: 'mov', tracks: [h264, video('libx264', { first: 3, frames: 41 })] })
    const { numbers, warnings } = await decode(renamed(file, 'avc1', 'zzzz'))
    expect(numbers[0]).toBe(3)
    expect(warnings.join()).toMatch(/track 1 \(unknown \(zzzz\)\) cannot be decoded/)
    const none = renamed(renamed(file, 'avc1', 'zzzz'), 'avc1', 'zzzz')
    expect(await failure(none)).toMatch(/^video_invalid: .*track 1 \(unknown \(zzzz\)\), track 2 .*Send H\.264/)
  })

  it('refuses, or says, audio that nothing decodes', async () => {
    const file = renamed(makeMedia({ container: 'mp4', tracks: [h264, audio('ac3')] }), 'ac-3', 'zzzz')
    expect(await failure(file)).toMatch(/^video_audio_undecodable: .*track 2 \(unknown \(zzzz\)\)/)
    const { warnings, facts } = await decode(file, { undecodableAudio: 'warn' })
    expect(facts.hasAudio).toBe(false)
    expect(warnings.join()).toMatch(/audio cannot be decoded: track 2/)
  })

  it('says a track of no known kind', async () => {
    const { warnings, facts } = await decode(
      unregistered(makeMedia({ container: 'mpegts', tracks: [video('mpeg2video'), audio('s302m', { channels: 2 })] })),
    )
    expect(facts.hasAudio).toBe(false)
    expect(warnings.join()).toMatch(/track 2 .*no known kind/)
  })

  it.each([
    ['AAC in LATM', 'mpegts', 'libx264', 'aac', { mpegts_flags: 'latm' }],
    ['LPCM of a DVD', 'vob', 'mpeg2video', 'pcm_dvd', {}],
    ['LPCM of a Blu-ray', 'mpegts', 'libx264', 'pcm_bluray', { mpegts_m2ts_mode: '1' }],
    ['SMPTE 302M', 'mpegts', 'mpeg2video', 's302m', {}],
  ])('reads %s', async (_name, container, videoCodec, codec, muxer) => {
    const { audio: samples } = await decode(
      makeMedia({ container, muxer, tracks: [video(videoCodec), audio(codec, { channels: 2 })] }),
    )
    expect(samples.length / 16_000).toBeCloseTo(4, 0)
    expect(dominantHz(samples, 1, 3)).toBeCloseTo(440, -1)
  })

  it.each([
    ['mpegts', 'libx264', 'aac'],
    ['vob', 'mpeg2video', 'mp2'],
    ['flv', 'libx264', 'aac'],
    ['matroska', 'libx264', 'aac'],
  ])('finds audio that begins late in %s', async (container, videoCodec, codec) => {
    const tones = [{ start: 10, seconds: 1, hz: 440 }]
    const file = makeMedia({ container, tracks: [video(videoCodec, { frames: 120 }), audio(codec, { tones })] })
    const { audio: samples, warnings } = await decode(file)
    expect(loudness(samples, 0, 9.9)).toBe(0)
    expect(dominantHz(samples, 10.2, 10.9)).toBeCloseTo(440, -1)
    expect(warnings).toEqual([])
  })
})

/** Gives SMPTE 302M in a transport stream's map an unknown registration. */
function unregistered(file: Buffer): Buffer {
  const out = Buffer.from(file)
  for (let at = 0; at < out.length; at += 188) {
    const packet = out.subarray(at, at + 188)
    if ((packet.readUInt16BE(1) & 0x1fff) !== 0x1000) continue
    const section = packet.subarray(5)
    const length = 3 + (section.readUInt16BE(1) & 0xfff)
    section.write('QQQQ', section.indexOf('BSSD'), 'latin1')
    section.writeUInt32BE(crc(section.subarray(0, length - 4)), length - 4)
  }
  return out
}

function crc(bytes: Buffer): number {
  let value = 0xffff_ffff
  for (const byte of bytes) {
    value ^= byte << 24
    for (let bit = 0; bit < 8; bit += 1) value = value & 0x8000_0000 ? (value << 1) ^ 0x04c1_1db7 : value << 1
  }
  return value >>> 0
}

describe('clocks', () => {
  const part = (start: number, first: number, container = 'mpegts') => {
    const tones = [{ start, seconds: 2, hz: 440 }]
    const [videoCodec, codec] =
      container === 'mpegts' ? (['libx264', 'aac'] as const) : (['mpeg2video', 'mp2'] as const)
    return makeMedia({
      container,
      muxer: container === 'mpegts' ? { output_ts_offset: String(start) } : {},
      tracks: [
        video(videoCodec, { frames: 20, first, start: container === 'mpegts' ? 0 : start }),
        audio(codec, { tones: container === 'mpegts' ? [{ start: 0, seconds: 2, hz: 440 }] : tones }),
      ],
    })
  }

  it.each([
    ['jumps forward', 'mpegts', 0, 5000],
    ['jumps back', 'mpegts', 5000, 0],
    ['starts again', 'mpegts', 0, 0],
    ['jumps forward', 'vob', 0, 3000],
    ['starts again', 'vob', 0, 0],
  ])('one that %s, in %s', async (_name, container, start, next) => {
    const {
      numbers,
      facts,
      audio: samples,
      warnings,
    } = await decode(Buffer.concat([part(start, 0, container), part(next, 20, container)]))
    expect(facts.durationSeconds).toBeCloseTo(4, 0)
    expect(numbers).toEqual(every)
    expect(Math.abs(samples.length / 16_000 - 4)).toBeLessThan(0.15)
    expect(dominantHz(samples, 2.3, 3.8)).toBeCloseTo(440, -1)
    expect(warnings).toEqual([])
  })

  it.each(['mpegts', 'matroska', 'flv'])('one that jumps between two frames of %s', async (container) => {
    const jump = { at: 20, seconds: 5000 }
    const { numbers, facts, warnings } = await decode(
      makeMedia({ container, tracks: [video('libx264', { jump, options: { preset: 'veryfast' } })] }),
    )
    expect(facts.sourceFrameCount).toBe(40)
    expect(Math.abs(facts.durationSeconds - 4)).toBeLessThan(0.25)
    expect(Math.max(...numbers.map((number, i) => Math.abs(number - every[i]!))), numbers.join()).toBeLessThanOrEqual(3)
    expect(warnings).toEqual([])
  })

  it('one that wraps', async () => {
    const file = makeMedia({
      container: 'mpegts',
      muxer: { output_ts_offset: String(2 ** 33 / 90_000 - 3.4) },
      tracks: [h264, audio('aac')],
    })
    const { numbers, facts, audio: samples } = await decode(file)
    expect([numbers, Math.round(facts.durationSeconds)]).toEqual([every, 4])
    expect(Math.abs(samples.length / 16_000 - 4)).toBeLessThan(0.15)
  })
})

describe('audio lies where its times say', () => {
  const tones = [
    { start: 0, seconds: 1, hz: 440 },
    { start: 3, seconds: 1, hz: 880 },
  ]
  it.each([
    ['matroska', 'libopus'],
    ['mp4', 'aac'],
    ['mpegts', 'mp2'],
    ['flv', 'aac'],
  ])('a hole in %s is silence', async (container, codec) => {
    const { audio: samples, warnings } = await decode(makeMedia({ container, tracks: [h264, audio(codec, { tones })] }))
    expect(samples.length / 16_000).toBeCloseTo(4, 0)
    expect(dominantHz(samples, 0.2, 0.9)).toBeCloseTo(440, -1)
    expect(loudness(samples, 1.2, 2.9)).toBeLessThan(0.02)
    expect(dominantHz(samples, 3.1, 3.9)).toBeCloseTo(880, -1)
    expect(warnings).toEqual([])
  })

  it.each(['matroska', 'mpegts', 'flv'])('what comes before the video is left out of %s', async (container) => {
    const early = [
      { start: 0, seconds: 1, hz: 440 },
      { start: 1, seconds: 2, hz: 880 },
    ]
    const file = makeMedia({
      container,
      tracks: [video('libx264', { start: 1, frames: 20 }), audio('aac', { tones: early })],
    })
    const { audio: samples, facts } = await decode(file)
    expect(facts.durationSeconds).toBeCloseTo(2, 1)
    expect(samples.length / 16_000).toBeCloseTo(2, 0)
    expect(dominantHz(samples, 0.15, 1.8)).toBeCloseTo(880, -1)
  })
})

describe('cut off', () => {
  const containers: [string, string, string | undefined][] = [
    ['matroska', 'libx264', 'aac'],
    ['matroska', 'libx264', undefined],
    ['webm', 'libvpx', undefined],
    ['flv', 'libx264', 'aac'],
    ['avi', 'mpeg4', 'mp2'],
    ['asf', 'wmv2', 'wmav2'],
    ['mpegts', 'libx264', 'aac'],
    ['vob', 'mpeg2video', 'mp2'],
    ['ogg', 'libtheora', 'libvorbis'],
  ]
  const make = (container: string, codec: string, audioCodec: string | undefined, muxer = {}) =>
    makeMedia({
      container,
      muxer,
      tracks: [video(codec), ...(audioCodec === undefined ? [] : [audio(audioCodec, { rate: 44_100, channels: 2 })])],
    })

  it.each(containers)(
    '%s of %s and %s: truncated is reported, complete is not',
    async (container, codec, audioCodec) => {
      const file = make(container, codec, audioCodec)
      expect((await decode(file)).warnings).toEqual([])
      for (const share of [0.75, 0.9]) {
        const length = Math.floor(file.length * share)
        // oxlint-disable-next-line no-await-in-loop -- two
        const { warnings } = await decode(
          file.subarray(0, container === 'mpegts' && length % 188 === 0 ? length + 1 : length),
        )
        expect(warnings.join(), `${container} ${share}`).toMatch(/cut off/)
      }
    },
  )

  it.each([['faststart'], ['frag_keyframe+empty_moov']])('MP4 with %s is said, whole is not', async (movflags) => {
    const file = make('mp4', 'libx264', 'aac', { movflags })
    expect((await decode(file)).warnings).toEqual([])
    expect((await decode(file.subarray(0, file.length * 0.6))).warnings.join()).toMatch(/cut off/)
  })

  it('MP4 whose last fragment has half an index: the fragments before it are used', async () => {
    const file = make('mp4', 'libx264', 'aac', { movflags: 'frag_keyframe+empty_moov', frag_duration: '500000' })
    const last = file.lastIndexOf('moof', file.length, 'latin1') - 4
    const { warnings, numbers } = await decode(file.subarray(0, last + 60))
    expect(warnings.join()).toMatch(/cut off/)
    expect(numbers).toEqual((await decode(file.subarray(0, last))).numbers)
    expect(numbers.length).toBeGreaterThan(1)
  })

  it('WebM of a recorder, without any length', async () => {
    const file = make('webm', 'libvpx', undefined, { live: '1' })
    expect((await decode(file)).warnings).toEqual([])
    expect((await decode(file.subarray(0, file.length * 0.6))).warnings.join()).toMatch(/cut off/)
  })

  it('MP4 whose index is gone', async () => {
    const file = make('mp4', 'libx264', 'aac')
    expect(await failure(file.subarray(0, file.length * 0.6))).toMatch(/^video_invalid: .*cut off/)
  })
})

describe('what the scaler refuses at first', () => {
  it.each([
    ['ictcp', 'colormatrix=ICtCp', true],
    ['YCgCo', 'colormatrix=YCgCo', true],
    ['constant luminance', 'colormatrix=bt2020c', true],
    ['a logarithmic transfer', 'transfer=log100', false],
  ])('%s', async (_name, params, rough) => {
    const track = video('libx264', { options: { 'x264-params': params } })
    const { numbers, warnings } = await decode(makeMedia({ container: 'mp4', tracks: [track] }))
    expect(numbers).toEqual(every)
    expect(warnings.join().includes('roughly')).toBe(rough)
  })
})

describe('damage and what follows', () => {
  it('frames with errors in them are counted', async () => {
    const file = makeMedia({ container: 'avi', tracks: [video('mpeg4', { width: 320, height: 240 })] })
    const middle = Math.floor(file.length / 2)
    file.fill(0x5a, middle, middle + 200)
    expect((await decode(file)).warnings.join()).toMatch(/damaged|broken/)
  })

  it.each([
    ['mp4', 'libx264'],
    ['asf', 'wmv2'],
  ])('a second file behind the first is said in %s', async (container, codec) => {
    const file = makeMedia({ container, tracks: [video(codec)] })
    const { numbers, warnings } = await decode(Buffer.concat([file, file]))
    expect(numbers).toEqual(every)
    expect(warnings.join()).toMatch(new RegExp(`another file begins at byte ${file.length}`))
  })

  it('a second WebM is read on', async () => {
    const part = (first: number) => makeMedia({ container: 'webm', tracks: [video('libvpx', { frames: 20, first })] })
    const { numbers, facts, warnings } = await decode(Buffer.concat([part(0), part(20)]))
    expect(numbers).toEqual(every)
    expect(facts.durationSeconds).toBeCloseTo(4, 1)
    expect(warnings).toEqual([])
  })
})
