import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RgbImage } from '../contract/index.ts'
import { createDecodingLoader, type DecodingLoader } from '../../testing/decode-at-once.ts'
import { MediaError, type MediaLoader } from './index.ts'

const bytes = (name: string) => readFileSync(new URL(`../../testdata/media/${name}`, import.meta.url))
const uri = (name: string) => `data:;base64,${bytes(name).toString('base64')}`

let loader: DecodingLoader
beforeAll(() => {
  loader = createDecodingLoader({ workers: 1 })
})
afterAll(() => loader[Symbol.asyncDispose]())

const failure = async (promise: Promise<unknown>): Promise<MediaError> => {
  const error = await promise.then(
    () => new Error('did not fail'),
    (reason: unknown) => reason,
  )
  if (!(error instanceof MediaError)) throw error
  return error
}

/** The pixel at fractions of width and height. */
const pixel = ({ width, height, data }: RgbImage, x: number, y: number) => {
  const at = (Math.floor(y * height) * width + Math.floor(x * width)) * 3
  return [...data.subarray(at, at + 3)]
}
const corners = (image: RgbImage) => [
  pixel(image, 0.2, 0.2),
  pixel(image, 0.8, 0.2),
  pixel(image, 0.2, 0.8),
  pixel(image, 0.8, 0.8),
]
const [red, green, blue, grey] = [
  [220, 30, 30],
  [30, 200, 40],
  [20, 40, 210],
  [128, 128, 128],
]
const near = (actual: readonly number[][], expected: readonly number[][], tolerance: number) => {
  const differences = actual.flatMap((colour, i) => colour.map((value, c) => Math.abs(value - expected[i]![c]!)))
  expect(Math.max(...differences), JSON.stringify(actual)).toBeLessThanOrEqual(tolerance)
}

describe('images', () => {
  it.each(
    'fields.png fields.webp fields.bmp fields.tiff fields.gif fields.sgi fields.jp2 fields.j2k palette.png palette.bmp animated.gif animated.webp packed.icns png.icns'.split(
      ' ',
    ),
  )('%s decodes to the drawn pixels', async (name) => {
    const image = await loader.image(uri(name))
    expect(image.data).toHaveLength(image.width * image.height * 3)
    near(corners(image), [red!, green!, blue!, grey!], 0)
  })

  it('JPEG is decoded with its EXIF orientation', async () => {
    near(corners(await loader.image(uri('fields.jpg'))), [red!, green!, blue!, grey!], 3)
    near(corners(await loader.image(uri('exif3.jpg'))), [grey!, blue!, green!, red!], 3)
    const turned = await loader.image(uri('exif6.jpg'))
    expect([turned.width, turned.height, turned.sourceWidth]).toEqual([48, 64, 48])
    near(corners(turned), [blue!, red!, grey!, green!], 3)
    near(corners(await loader.image(uri('exif8.jpg'))), [green!, grey!, red!, blue!], 3)
    near(corners(await loader.image(uri('exif5.jpg'))), [red!, blue!, green!, grey!], 3)
  })

  it.each(['lzw', 'deflate', 'packbits'] as const)(
    'a %s TIFF with its directory at the end is decoded',
    async (compression) => {
      const [width, height] = [96, 64]
      const noise = createHash('shake256', { outputLength: width * height * 3 })
      const data = noise.update(compression).digest()
      const file = await sharp(data, { raw: { width, height, channels: 3 } })
        .tiff({ compression })
        .toBuffer()
      expect(file.readUInt32LE(4)).toBeGreaterThan(4100)
      expect(Buffer.from((await loader.image(`data:;base64,${file.toString('base64')}`)).data)).toEqual(data)
    },
  )

  it('transparency becomes white', async () => {
    for (const name of ['alpha.png', 'alpha.webp']) {
      const image = await loader.image(uri(name))
      near([pixel(image, 0.2, 0)], [[255, 255, 255]], 2)
      near([pixel(image, 0.2, 0.49)], [[238, 146, 146]], 4)
    }
    for (const name of ['png.ico', 'bitmap.ico']) {
      const icon = await loader.image(uri(name))
      expect([icon.width, icon.height]).toEqual([48, 48])
      near([pixel(icon, 0.2, 0)], [[255, 255, 255]], 2)
    }
  })

  it('a TGA file, which begins like an icon, has an unknown format', async () => {
    const tga = Buffer.concat([Buffer.from('000002000000000000000000100010001800', 'hex'), Buffer.alloc(16 * 16 * 3)])
    const { code, message } = await failure(loader.image(`data:;base64,${tga.toString('base64')}`))
    expect([code, message]).toEqual([
      'image_illegal',
      'The format of the file is unknown. Send JPEG, PNG, WebP, GIF, TIFF, AVIF or BMP.',
    ])
  })

  it('a file of another kind is refused with the part or the format to send in its place', async () => {
    const refused = async (kind: 'image' | 'audio' | 'video', sent: Buffer): Promise<string> =>
      (await failure(loader[kind](`data:;base64,${sent.toString('base64')}`))).message
    const heic = Buffer.concat([Buffer.from('0000001866747970686569630000000068656963', 'hex'), Buffer.alloc(200)])
    const gif = Buffer.from('GIF89a'.padEnd(200, '\0'), 'latin1')
    expect(await refused('image', heic)).toMatch(/^The file is image\/heic, not a supported image format\. Send JPEG, /)
    expect(await refused('video', gif)).toBe('The file is image/gif, not a video. Send it as `image_url`.')
    const wav = Buffer.from('RIFF\0\0\0\0WAVE'.padEnd(200, '\0'), 'latin1')
    expect(await refused('image', wav)).toBe('The file is audio/wav, not an image. Send it as `input_audio`.')
    expect(await refused('audio', Buffer.alloc(3200, 1))).toContain('Send WAV (raw PCM requires its header), MP3')
  })

  it('grey, 16 bits and CMYK become RGB', async () => {
    const luma = ([r, g, b]: number[]) => Math.round(0.299 * r! + 0.587 * g! + 0.114 * b!)
    const expected = [red!, green!, blue!, grey!].map((colour) => Array(3).fill(luma(colour)) as number[])
    near(corners(await loader.image(uri('grey.png'))), expected, 1)
    near([pixel(await loader.image(uri('grey16.png')), 0.5, 0.5)], [[129, 129, 129]], 1)
    near([pixel(await loader.image(uri('deep.png')), 0.5, 0.5)], [[254, 0, 0]], 2)
    const [r] = corners(await loader.image(uri('cmyk.jpg')))
    expect(r![0]! - Math.max(r![1]!, r![2]!)).toBeGreaterThan(100)
  })

  it('an image above the output limit is scaled, and its stored size is reported', async () => {
    const image = await loader.image(uri('png.icns'), { maxOutputPixels: 10_000 })
    expect([image.sourceWidth, image.sourceHeight]).toEqual([1024, 1024])
    expect([image.width, image.height]).toEqual([100, 100])
  })

  it('the size limits are checked', async () => {
    const small = await failure(loader.image(uri('fields.png'), { minSide: 48 }))
    expect(small).toMatchObject({ code: 'image_dimensions', kind: 'image', source: 'data' })
    expect(small.detail).toBe('height:48 or width:64 must be larger than 48')
    expect(await failure(loader.image(uri('fields.png'), { maxPixels: 3000 }))).toMatchObject({
      code: 'image_dimensions',
    })
    expect(await failure(loader.image(uri('fields.bmp'), { maxPixels: 3000 }))).toMatchObject({
      code: 'image_dimensions',
    })
    expect(await failure(loader.image(uri('fields.jp2'), { maxAspect: 1.1 }))).toMatchObject({
      code: 'image_dimensions',
    })
    expect(await failure(loader.image(uri('fields.png'), { maxBytes: 100 }))).toMatchObject({ code: 'too_large' })
  })
})

/** Amplitude of 440 Hz, and the RMS of everything else. */
const tone = (samples: Float32Array) => {
  let [re, im, power] = [0, 0, 0]
  for (const [i, sample] of samples.entries()) {
    re += sample * Math.cos((2 * Math.PI * 440 * i) / 16_000)
    im += sample * Math.sin((2 * Math.PI * 440 * i) / 16_000)
    power += sample * sample
  }
  const amplitude = (2 * Math.hypot(re, im)) / samples.length
  return { amplitude, rest: Math.sqrt(Math.max(0, power / samples.length - amplitude ** 2 / 2)) }
}

describe('audio', () => {
  it.each([
    ['tone.wav', 0.5],
    ['float.wav', 0.5],
    ['mulaw.wav', 0.5],
    ['odd-rate.wav', 0.5],
    ['tone.flac', 0.5],
    ['tone.opus', 0.5],
    ['tone.ogg', 0.5],
    ['tone.3gp', 0.5],
    ['cover-art.mp3', 0.45],
    // FFmpeg attenuates mono by 3 dB when it makes two channels of it.
    ['tone-44100-stereo.mp3', 0.34],
    ['tone.aac', 0.35],
    ['tone.m4a', 0.35],
    ['tone.wma', 0.34],
  ])('%s decodes to a tone with amplitude %d and no noise', async (name, amplitude) => {
    const { pcm, durationSeconds, warnings } = await loader.audio(uri(name))
    expect(pcm.sampleRate).toBe(16_000)
    expect(durationSeconds).toBeGreaterThan(0.95)
    expect(durationSeconds).toBeLessThan(1.06)
    const decoded = tone(pcm.samples.subarray(2000, 14_000))
    expect(Math.abs(decoded.amplitude - amplitude)).toBeLessThan(0.04)
    expect(decoded.rest).toBeLessThan(0.02)
    expect(warnings).toEqual([])
  })

  it('AMR (narrow and wide) and the audio of a video are decoded', async () => {
    for (const name of ['noise.amr', 'noise-wide.amr']) {
      expect((await loader.audio(uri(name))).durationSeconds).toBeCloseTo(1, 2)
    }
    const { pcm } = await loader.audio(uri('clip.mp4'))
    expect(tone(pcm.samples.subarray(2000, 30_000)).amplitude).toBeGreaterThan(0.4)
  })

  it('surround audio is mixed without clipping', async () => {
    const { pcm } = await loader.audio(uri('surround.flac'))
    expect(tone(pcm.samples).amplitude).toBeGreaterThan(0.1)
  })

  it('the limits are checked', async () => {
    expect(await failure(loader.audio(uri('cover-art.mp3'), { maxDurationSeconds: 0.5 }))).toMatchObject({
      code: 'audio_too_long',
      kind: 'audio',
    })
    expect(await failure(loader.audio(uri('empty.wav')))).toMatchObject({ code: 'audio_empty' })
    expect(await failure(loader.audio('data:;base64,'))).toMatchObject({ code: 'audio_empty' })
    expect(await failure(loader.audio(uri('silent.mp4')))).toMatchObject({ code: 'audio_illegal' })
    expect(await failure(loader.audio(uri('fields.png')))).toMatchObject({ code: 'audio_illegal' })
  })
})

describe('video', () => {
  it.each(
    'clip.mp4 clip.mov clip.mkv clip.flv clip.avi clip.wmv clip.webm clip.m2ts fragmented.mp4 hevc.mp4 av1.mp4 odd.avi silent.mp4 hdr.mp4'.split(
      ' ',
    ),
  )('%s: the sampled frames and the audio are decoded', async (name) => {
    const media = await loader.video(uri(name))
    expect(media).toMatchObject({
      width: 64,
      height: 48,
      sourceFrameCount: 20,
      sourceFps: 10,
      frameCount: 4,
      warnings: [],
    })
    expect(Math.abs(media.durationSeconds - 2)).toBeLessThan(0.11)
    // A frame's grey level is 12 times its number, plus 8.
    const numbers = media.video.frames.map((frame) => Math.round((pixel(frame, 0.5, 0.5)[1]! - 8) / 12))
    expect(numbers).toEqual([0, 6, 13, 19])
    for (const [i, at] of [0, 0.6, 1.3, 1.9].entries()) {
      expect(Math.abs(media.video.timestamps[i]! - at)).toBeLessThan(0.11)
    }
    expect(media.video.fps).toBeCloseTo(2, 5)
    const hasAudio = name !== 'silent.mp4' && name !== 'hdr.mp4'
    expect(media.hasAudio).toBe(hasAudio)
    if (!hasAudio) return
    expect(Math.abs(media.audioSeconds - 2)).toBeLessThan(0.06)
    expect(tone(media.video.audio!.samples.subarray(2000, 30_000)).amplitude).toBeGreaterThan(0.4)
  })

  it('a rotated video is turned upright', async () => {
    const upright = await loader.video(uri('upright.mp4'))
    near(corners(upright.video.frames[0]!), [red!, green!, blue!, grey!], 4)
    const rotated = await loader.video(uri('rotated.mp4'))
    expect([rotated.width, rotated.height]).toEqual([48, 64])
    near(corners(rotated.video.frames[0]!), [blue!, red!, grey!, green!], 4)
  })

  it('wide pixels become square; the stored size is reported for token counting', async () => {
    const { video, width, height } = await loader.video(uri('wide-pixels.mp4'))
    expect([width, height, video.frames[0]!.width, video.frames[0]!.height]).toEqual([64, 48, 128, 48])
  })

  it('variable frame rate: frames are sampled by number and keep their presentation times', async () => {
    const { video, sourceFps, durationSeconds } = await loader.video(uri('variable.mp4'))
    expect(sourceFps).toBeCloseTo(20 / 3, 3)
    expect(durationSeconds).toBeCloseTo(3, 1)
    expect(video.timestamps.map((at) => Math.round(at * 10) / 10)).toEqual([0, 0.4, 1.1, 1.7, 2.5, 2.9])
  })

  it('late audio is preceded by silence', async () => {
    const { video, audioSeconds } = await loader.video(uri('late-audio.mkv'))
    expect(audioSeconds).toBeCloseTo(1.5, 1)
    expect(Math.max(...video.audio!.samples.subarray(0, 7500).map(Math.abs))).toBeLessThan(0.01)
    expect(tone(video.audio!.samples.subarray(9000, 22_000)).amplitude).toBeGreaterThan(0.4)
  })

  it('an audio track that cannot be decoded is an error or a warning', async () => {
    const error = await failure(loader.video(uri('broken-audio.mp4')))
    expect(error).toMatchObject({ code: 'video_audio_undecodable', kind: 'video' })
    const media = await loader.video(uri('broken-audio.mp4'), { undecodableAudio: 'warn' })
    expect(media).toMatchObject({ hasAudio: false, frameCount: 4 })
    expect(media.warnings.join()).toMatch(/audio cannot be decoded/)
  })

  it('the limits are checked', async () => {
    const refusals: [Parameters<MediaLoader['video']>[1], string][] = [
      [{ maxDurationSeconds: 1 }, 'video_too_long'],
      [{ minDurationSeconds: 3 }, 'video_too_short'],
      [{ maxPixels: 3000 }, 'image_dimensions'],
      [{ minSide: 48 }, 'image_dimensions'],
      [{ dataUriMaxBytes: 100 }, 'data_uri_too_large'],
    ]
    for (const [limits, code] of refusals) {
      // oxlint-disable-next-line no-await-in-loop -- one worker
      expect((await failure(loader.video(uri('clip.mp4'), limits))).code).toBe(code)
    }
    expect((await failure(loader.video(uri('cover-art.mp3')))).code).toBe('video_invalid')
    const small = await loader.video(uri('clip.mp4'), { maxFramePixels: 768, maxFrames: 2 })
    expect(small.video.frames.map(({ width, height }) => [width, height])).toEqual([
      [32, 24],
      [32, 24],
    ])
  })

  it('a frame list becomes a video of one size', async () => {
    const list = await loader.frames([uri('fields.png'), uri('fields.jpg'), uri('packed.icns')], { fps: 4 })
    expect(list.timestamps).toEqual([0, 0.25, 0.5])
    expect(list.frames.map(({ width, height }) => `${width}x${height}`)).toEqual(['64x48', '64x48', '64x48'])
    near(corners(list.frames[2]!), [red!, green!, blue!, grey!], 1)
    const few = await failure(loader.frames([uri('fields.png')]))
    expect(few).toMatchObject({ code: 'video_frame_count', kind: 'video' })
    const bad = await failure(loader.frames([uri('fields.png'), uri('tone.wav'), uri('fields.png')]))
    expect(bad).toMatchObject({ code: 'image_illegal', index: 1 })
  })
})
