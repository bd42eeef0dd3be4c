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

/** The number of a frame, which is encoded as the grey level of its middle pixel. */
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

const video = (codec: string, options: Partial<VideoTrack> = {}) => ({ video: { codec, frames: 40, ...options } })
const audio = (codec: string, options: Partial<AudioTrack> = {}) => ({
  audio: { codec, tones: [{ start: 0, seconds: 4, hz: 440 }], ...options },
})
const h264 = video('libx264', { options: { preset: 'veryfast' } })
const allSampled = [0, 6, 11, 17, 22, 28, 33, 39]

/** Replaces the `nth` occurrence of a four-character code. */
const withReplacedCode = (file: Buffer, from: string, to: string, nth = 0) => {
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
  ])('%s has all its frames', async (_name, container, codec, options) => {
    const { numbers, warnings } = await decode(
      makeMedia({ container, tracks: [video(codec, { interlaced: true, ...options })] }),
    )
    expect(numbers).toEqual(allSampled)
    expect(warnings).toEqual([])
  })

  it.each(['mpegts', 'vob', 'matroska'])(
    'H.264 with separately coded fields has all its frames in %s',
    async (container) => {
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
    },
  )

  it('DV has all its frames', async () => {
    const { numbers } = await decode(makeMedia({ container: 'mov', tracks: [video('dvvideo', large)] }))
    expect(numbers).toEqual([0, 5, 9, 14])
  })
})

describe('tracks of a video', () => {
  const withTwoAudioTracks = (codec: string) =>
    makeMedia({
      container: 'mp4',
      tracks: [h264, audio(codec), audio('aac', { tones: [{ start: 0, seconds: 4, hz: 880 }] })],
    })

  it('audio that can be decoded is used, with a warning for the skipped track', async () => {
    const unreadable = await decode(withReplacedCode(withTwoAudioTracks('ac3'), 'ac-3', 'zzzz'))
    expect(dominantHz(unreadable.audio, 1, 3)).toBeCloseTo(880, -1)
    expect(unreadable.warnings).toEqual(['track 2 (unknown (zzzz)) cannot be decoded and was skipped'])
    expect(dominantHz((await decode(withTwoAudioTracks('ac3'))).audio, 1, 3)).toBeCloseTo(440, -1)
  })

  it('a track with a decoder is skipped if its packets cannot be decoded', async () => {
    const wrong = await decode(withReplacedCode(withTwoAudioTracks('flac'), 'fLaC', 'ac-3'))
    expect(dominantHz(wrong.audio, 1, 3)).toBeCloseTo(880, -1)
    expect(wrong.warnings.join()).toMatch(/track 2 .*cannot be decoded/)
  })

  it('video that can be decoded is used', async () => {
    const file = makeMedia({ container: 'mov', tracks: [h264, video('libx264', { first: 3, frames: 41 })] })
    const { numbers, warnings } = await decode(withReplacedCode(file, 'avc1', 'zzzz'))
    expect(numbers[0]).toBe(3)
    expect(warnings.join()).toMatch(/track 1 \(unknown \(zzzz\)\) cannot be decoded/)
    const none = withReplacedCode(withReplacedCode(file, 'avc1', 'zzzz'), 'avc1', 'zzzz')
    expect(await failure(none)).toMatch(/^video_invalid: .*track 1 \(unknown \(zzzz\)\), track 2 .*Send H\.264/)
  })

  it('audio that cannot be decoded is an error or a warning', async () => {
    const file = withReplacedCode(makeMedia({ container: 'mp4', tracks: [h264, audio('ac3')] }), 'ac-3', 'zzzz')
    expect(await failure(file)).toMatch(/^video_audio_undecodable: .*track 2 \(unknown \(zzzz\)\)/)
    const { warnings, facts } = await decode(file, { undecodableAudio: 'warn' })
    expect(facts.hasAudio).toBe(false)
    expect(warnings.join()).toMatch(/audio cannot be decoded: track 2/)
  })

  it('a track of an unknown type has a warning', async () => {
    const { warnings, facts } = await decode(
      withUnknownRegistration(
        makeMedia({ container: 'mpegts', tracks: [video('mpeg2video'), audio('s302m', { channels: 2 })] }),
      ),
    )
    expect(facts.hasAudio).toBe(false)
    expect(warnings.join()).toMatch(/track 2 .*unknown type/)
  })

  it.each([
    ['AAC in LATM', 'mpegts', 'libx264', 'aac', { mpegts_flags: 'latm' }],
    ['LPCM of a DVD', 'vob', 'mpeg2video', 'pcm_dvd', {}],
    ['LPCM of a Blu-ray', 'mpegts', 'libx264', 'pcm_bluray', { mpegts_m2ts_mode: '1' }],
    ['SMPTE 302M', 'mpegts', 'mpeg2video', 's302m', {}],
  ])('audio as %s is decoded', async (_name, container, videoCodec, codec, muxer) => {
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
  ])('audio that begins late in %s is found', async (container, videoCodec, codec) => {
    const tones = [{ start: 10, seconds: 1, hz: 440 }]
    const file = makeMedia({ container, tracks: [video(videoCodec, { frames: 120 }), audio(codec, { tones })] })
    const { audio: samples, warnings } = await decode(file)
    expect(loudness(samples, 0, 9.9)).toBe(0)
    expect(dominantHz(samples, 10.2, 10.9)).toBeCloseTo(440, -1)
    expect(warnings).toEqual([])
  })
})

/** Replaces the registration of SMPTE 302M in a transport stream's program map by an unknown one. */
function withUnknownRegistration(file: Buffer): Buffer {
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

describe('the clock of a video', () => {
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
  ])('%s in %s: frames and audio continue', async (_name, container, start, next) => {
    const {
      numbers,
      facts,
      audio: samples,
      warnings,
    } = await decode(Buffer.concat([part(start, 0, container), part(next, 20, container)]))
    expect(facts.durationSeconds).toBeCloseTo(4, 0)
    expect(numbers).toEqual(allSampled)
    expect(Math.abs(samples.length / 16_000 - 4)).toBeLessThan(0.15)
    expect(dominantHz(samples, 2.3, 3.8)).toBeCloseTo(440, -1)
    expect(warnings).toEqual([])
  })

  it.each(['mpegts', 'matroska', 'flv'])('jumps between two frames of %s: no frame is lost', async (container) => {
    const jump = { at: 20, seconds: 5000 }
    const { numbers, facts, warnings } = await decode(
      makeMedia({ container, tracks: [video('libx264', { jump, options: { preset: 'veryfast' } })] }),
    )
    expect(facts.sourceFrameCount).toBe(40)
    expect(Math.abs(facts.durationSeconds - 4)).toBeLessThan(0.25)
    expect(
      Math.max(...numbers.map((number, i) => Math.abs(number - allSampled[i]!))),
      numbers.join(),
    ).toBeLessThanOrEqual(3)
    expect(warnings).toEqual([])
  })

  it('wraps: frames and audio continue', async () => {
    const file = makeMedia({
      container: 'mpegts',
      muxer: { output_ts_offset: String(2 ** 33 / 90_000 - 3.4) },
      tracks: [h264, audio('aac')],
    })
    const { numbers, facts, audio: samples } = await decode(file)
    expect([numbers, Math.round(facts.durationSeconds)]).toEqual([allSampled, 4])
    expect(Math.abs(samples.length / 16_000 - 4)).toBeLessThan(0.15)
  })
})

describe('audio is placed by its timestamps', () => {
  const tones = [
    { start: 0, seconds: 1, hz: 440 },
    { start: 3, seconds: 1, hz: 880 },
  ]
  it.each([
    ['matroska', 'libopus'],
    ['mp4', 'aac'],
    ['mpegts', 'mp2'],
    ['flv', 'aac'],
  ])('a gap in %s becomes silence', async (container, codec) => {
    const { audio: samples, warnings } = await decode(makeMedia({ container, tracks: [h264, audio(codec, { tones })] }))
    expect(samples.length / 16_000).toBeCloseTo(4, 0)
    expect(dominantHz(samples, 0.2, 0.9)).toBeCloseTo(440, -1)
    expect(loudness(samples, 1.2, 2.9)).toBeLessThan(0.02)
    expect(dominantHz(samples, 3.1, 3.9)).toBeCloseTo(880, -1)
    expect(warnings).toEqual([])
  })

  it.each(['matroska', 'mpegts', 'flv'])('audio before the first frame is dropped in %s', async (container) => {
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

describe('a truncated video', () => {
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
    '%s of %s and %s has a warning, a complete one has none',
    async (container, codec, audioCodec) => {
      const file = make(container, codec, audioCodec)
      expect((await decode(file)).warnings).toEqual([])
      for (const fraction of [0.75, 0.9]) {
        const length = Math.floor(file.length * fraction)
        // oxlint-disable-next-line no-await-in-loop -- one file at a time
        const { warnings } = await decode(
          file.subarray(0, container === 'mpegts' && length % 188 === 0 ? length + 1 : length),
        )
        expect(warnings.join(), `${container} ${fraction}`).toMatch(/cut off/)
      }
    },
  )

  it.each([['faststart'], ['frag_keyframe+empty_moov']])(
    'MP4 with %s has a warning, a complete one has none',
    async (movflags) => {
      const file = make('mp4', 'libx264', 'aac', { movflags })
      expect((await decode(file)).warnings).toEqual([])
      expect((await decode(file.subarray(0, file.length * 0.6))).warnings.join()).toMatch(/cut off/)
    },
  )

  it('MP4 with a truncated last fragment index is decoded up to that fragment', async () => {
    const file = make('mp4', 'libx264', 'aac', { movflags: 'frag_keyframe+empty_moov', frag_duration: '500000' })
    const last = file.lastIndexOf('moof', file.length, 'latin1') - 4
    const { warnings, numbers } = await decode(file.subarray(0, last + 60))
    expect(warnings.join()).toMatch(/cut off/)
    expect(numbers).toEqual((await decode(file.subarray(0, last))).numbers)
    expect(numbers.length).toBeGreaterThan(1)
  })

  it('WebM without declared lengths has a warning', async () => {
    const file = make('webm', 'libvpx', undefined, { live: '1' })
    expect((await decode(file)).warnings).toEqual([])
    expect((await decode(file.subarray(0, file.length * 0.6))).warnings.join()).toMatch(/cut off/)
  })

  it('AVI written to a pipe has a warning', async () => {
    const file = make('avi', 'mpeg4', 'mp2')
    file.writeUInt32LE(0, 4)
    expect((await decode(file)).warnings).toEqual([])
    expect((await decode(file.subarray(0, file.length * 0.6))).warnings.join()).toMatch(/cut off/)
  })

  it('ASF whose tracks have different lengths has no warning', async () => {
    const tones = [{ start: 1, seconds: 1, hz: 440 }]
    const tracks = [video('wmv2'), audio('wmav2', { rate: 44_100, channels: 2, tones })]
    expect((await decode(makeMedia({ container: 'asf', tracks }))).warnings).toEqual([])
  })

  it('MP4 without its index is an error', async () => {
    const file = make('mp4', 'libx264', 'aac')
    expect(await failure(file.subarray(0, file.length * 0.6))).toMatch(/^video_invalid: .*cut off/)
  })
})

describe('colours that the scaler does not support', () => {
  it.each([
    ['ICtCp', 'colormatrix=ICtCp', true],
    ['YCgCo', 'colormatrix=YCgCo', true],
    ['constant luminance', 'colormatrix=bt2020c', true],
    ['a logarithmic transfer', 'transfer=log100', false],
  ])('%s is converted', async (_name, params, approximate) => {
    const track = video('libx264', { options: { 'x264-params': params } })
    const { numbers, warnings } = await decode(makeMedia({ container: 'mp4', tracks: [track] }))
    expect(numbers).toEqual(allSampled)
    expect(warnings.join().includes('approximate')).toBe(approximate)
  })
})

describe('damaged and appended files', () => {
  it('damaged frames have a warning', async () => {
    const file = makeMedia({ container: 'avi', tracks: [video('mpeg4', { width: 320, height: 240 })] })
    const middle = Math.floor(file.length / 2)
    file.fill(0x5a, middle, middle + 200)
    expect((await decode(file)).warnings.join()).toMatch(/damaged|broken/)
  })

  it.each([
    ['mp4', 'libx264'],
    ['asf', 'wmv2'],
  ])('a second file after the first has a warning in %s', async (container, codec) => {
    const file = makeMedia({ container, tracks: [video(codec)] })
    const { numbers, warnings } = await decode(Buffer.concat([file, file]))
    expect(numbers).toEqual(allSampled)
    expect(warnings.join()).toMatch(new RegExp(`another file begins at byte ${file.length}`))
  })

  it('a second fragmented MP4 after the first is decoded', async () => {
    const muxer = { movflags: 'frag_keyframe+empty_moov+default_base_moof' }
    const options = { preset: 'veryfast', bf: '2', g: '10' }
    const part = (first: number) =>
      makeMedia({ container: 'mp4', muxer, tracks: [video('libx264', { frames: 20, first, options })] })
    const { numbers, warnings } = await decode(Buffer.concat([part(0), part(20)]))
    expect([numbers, warnings]).toEqual([allSampled, []])
  })

  it('a second WebM after the first is decoded', async () => {
    const part = (first: number) => makeMedia({ container: 'webm', tracks: [video('libvpx', { frames: 20, first })] })
    const { numbers, facts, warnings } = await decode(Buffer.concat([part(0), part(20)]))
    expect(numbers).toEqual(allSampled)
    expect(facts.durationSeconds).toBeCloseTo(4, 1)
    expect(warnings).toEqual([])
  })
})
