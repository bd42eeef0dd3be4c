/**
 * The hostile corpus: files that are broken, mislabelled or malicious, each with the kind it is sent as and its allowed
 * error codes. Made here, by code, from the small good files in `testdata/media`.
 *
 * A case with `none` may also be accepted: a file cut near its end is decoded as far as possible.
 */
import { readFileSync } from 'node:fs'
import { crc32, deflateSync } from 'node:zlib'
import type { MediaKind } from '../src/media/index.ts'

export interface HostileFile {
  readonly name: string
  readonly kind: MediaKind
  readonly bytes: Buffer
  readonly codes: readonly string[]
}

const good = (name: string) => readFileSync(new URL(`../testdata/media/${name}`, import.meta.url))

/** Repeatable noise. */
function noise(length: number, seed = 1): Buffer {
  let state = seed
  return Buffer.from(
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state >>> 24
    }),
  )
}

function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), data])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(data.length)
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, sum])
}

/** A grey PNG whose header and pixel data are chosen apart from each other. */
export function png(width: number, height: number, pixels = Buffer.alloc((width + 1) * height)): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header[8] = 8
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    pngChunk('IHDR', header),
    pngChunk('IDAT', deflateSync(pixels, { level: 9 })),
    pngChunk('IEND', Buffer.alloc(0)),
  ])
}

function gif(width: number, height: number): Buffer {
  const file = Buffer.from(good('fields.gif'))
  file.writeUInt16LE(width, 6)
  file.writeUInt16LE(height, 8)
  return file
}

function bmp(width: number, height: number): Buffer {
  const file = Buffer.from(good('fields.bmp'))
  file.writeInt32LE(width, 18)
  file.writeInt32LE(height, 22)
  return file
}

export interface WavShape {
  readonly code?: number
  readonly channels?: number
  readonly rate?: number
  readonly bits?: number
}

function wav(data: Buffer, { code = 1, channels = 1, rate = 16_000, bits = 16 }: WavShape = {}): Buffer {
  const header = Buffer.alloc(44)
  header.write('RIFF')
  header.writeUInt32LE(36 + data.length, 4)
  header.write('WAVEfmt ', 8)
  header.writeUInt32LE(16, 16)
  header.writeUInt16LE(code, 20)
  header.writeUInt16LE(channels, 22)
  header.writeUInt32LE(rate, 24)
  header.writeUInt32LE(Math.min(0xffff_ffff, (rate * channels * bits) / 8), 28)
  header.writeUInt16LE((channels * bits) / 8, 32)
  header.writeUInt16LE(bits, 34)
  header.write('data', 36)
  header.writeUInt32LE(data.length, 40)
  return Buffer.concat([header, data])
}

/** The video with the frame size in its header and sample entry overwritten. */
function mp4Sized(width: number, height: number): Buffer {
  const file = Buffer.from(good('silent.mp4'))
  const entry = file.indexOf('avc1', file.indexOf('stsd'))
  file.writeUInt16BE(width, entry + 28)
  file.writeUInt16BE(height, entry + 30)
  return file
}

const cut = (file: Buffer, share: number) => file.subarray(0, Math.floor(file.length * share))

/** Flips a byte in every `step`, from `from` on. */
function scratched(file: Buffer, step: number, from = 64): Buffer {
  const copy = Buffer.from(file)
  for (let at = from; at < copy.length; at += step) copy[at] = copy[at]! ^ 0x5a
  return copy
}

const svg = `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
  width="99" height="99"><image xlink:href="file:///etc/passwd" width="9" height="9"/></svg>`

/** All cases, given the address that the playlists contain; nothing may ever connect to it. */
export function hostileFiles(bait: string): HostileFile[] {
  const files: HostileFile[] = []
  const add = (name: string, kind: MediaKind, bytes: Buffer | string, ...codes: string[]) =>
    files.push({ name, kind, bytes: Buffer.from(bytes as string), codes })
  const illegal = { image: 'image_illegal', audio: 'audio_illegal', video: 'video_invalid' } as const
  const kinds = ['image', 'audio', 'video'] as const

  for (const kind of kinds) {
    add(`noise as ${kind}`, kind, noise(20_000), illegal[kind])
    add(`zeros as ${kind}`, kind, Buffer.alloc(20_000), illegal[kind], ...(kind === 'audio' ? ['audio_empty'] : []))
    add(`one byte as ${kind}`, kind, 'x', illegal[kind])
    add(`svg as ${kind}`, kind, svg, illegal[kind])
    add(`page as ${kind}`, kind, '<!DOCTYPE html><html><body>hello</body></html>', illegal[kind])
    add(`zip as ${kind}`, kind, Buffer.concat([Buffer.from('PK\x03\x04\x14\0'), noise(500)]), illegal[kind])
    add(`pdf as ${kind}`, kind, '%PDF-1.7\n1 0 obj <</Type/Catalog>> endobj', illegal[kind])
    add(`hls as ${kind}`, kind, `#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n${bait}\n`, illegal[kind])
    add(`file hls as ${kind}`, kind, '#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n', illegal[kind])
    add(`concat as ${kind}`, kind, `ffconcat version 1.0\nfile '${bait}'\n`, illegal[kind])
    add(`late hls as ${kind}`, kind, `\n\n#EXTM3U\n#EXTINF:1,\n${bait}\n`, illegal[kind])
    add(`dash as ${kind}`, kind, `<?xml version="1.0"?><MPD><BaseURL>${bait}</BaseURL></MPD>`, illegal[kind])
    add(`sdp as ${kind}`, kind, 'v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n', illegal[kind])
  }
  add('audio as image', 'image', good('tone.wav'), 'image_illegal')
  add('video as image', 'image', good('clip.mp4'), 'image_illegal')
  add('image as audio', 'audio', good('fields.jpg'), 'audio_illegal')
  add('image as video', 'video', good('fields.png'), 'video_invalid')
  add('audio as video', 'video', good('tone.m4a'), 'video_invalid')
  add('cover art as video', 'video', good('cover-art.mp3'), 'video_invalid')
  add('silent video as audio', 'audio', good('silent.mp4'), 'audio_illegal')

  add('bomb: png 30000 x 30000', 'image', png(30_000, 30_000, Buffer.alloc(100)), 'image_dimensions')
  add('bomb: png 9000 x 9000 of zeros, cut', 'image', png(9000, 9000, Buffer.alloc(1_000_000)), 'image_illegal')
  add('bomb: gif 65535 x 65535', 'image', gif(65_535, 65_535), 'none', 'image_dimensions')
  add('bomb: bmp', 'image', bmp(60_000, 60_000), 'image_dimensions')
  add('bomb: bmp int32', 'image', bmp(2_147_483_647, 2_147_483_647), 'image_dimensions')
  add('bomb: mp4 65535 x 65535', 'video', mp4Sized(65_535, 65_535), 'image_dimensions', 'none')
  add('png 1 x 1', 'image', png(1, 1), 'image_dimensions')
  add('png 10 x 10', 'image', png(10, 10), 'image_dimensions')
  add('png 11 x 11', 'image', png(11, 11), 'none')
  add('png 200:1', 'image', png(2200, 11), 'none')
  add('png over 200:1', 'image', png(2201, 11), 'image_dimensions')
  add('png 0 x 0', 'image', png(0, 0, Buffer.alloc(0)), 'image_illegal', 'image_dimensions')
  add('png too few rows', 'image', png(64, 64, Buffer.alloc(65 * 10)), 'image_illegal')
  add('bmp without pixels', 'image', good('fields.bmp').subarray(0, 60), 'image_illegal')
  add('ico of nothing', 'image', Buffer.from([0, 0, 1, 0, 1, 0, 16, 16, 0, 0, 1, 0, 32, 0]), 'image_illegal')
  add(
    'ico pointing outside',
    'image',
    scratched(good('bitmap.ico'), 1000, 18),
    'image_illegal',
    'image_dimensions',
    'none',
  )
  add('icns loop', 'image', Buffer.from('icns\0\0\0\x18ic07\0\0\0\0\0\0\0\0\0\0\0\0', 'latin1'), 'image_illegal')

  for (const name of [
    'fields.jpg',
    'fields.png',
    'fields.webp',
    'fields.tiff',
    'fields.gif',
    'fields.jp2',
    'fields.sgi',
  ]) {
    add(`half of ${name}`, 'image', cut(good(name), 0.5), 'image_illegal', 'none')
    add(`scratched ${name}`, 'image', scratched(good(name), 40, 24), 'image_illegal', 'image_dimensions', 'none')
  }
  for (const name of ['tone.flac', 'cover-art.mp3', 'tone.aac', 'tone.ogg', 'tone.wma', 'tone.m4a', 'noise.amr']) {
    add(`half of ${name}`, 'audio', cut(good(name), 0.5), 'none', 'audio_illegal', 'audio_empty')
    add(`head of ${name}`, 'audio', good(name).subarray(0, 48), 'audio_illegal', 'audio_empty', 'none')
    add(`scratched ${name}`, 'audio', scratched(good(name), 97), 'none', 'audio_illegal', 'audio_empty')
  }
  for (const name of [
    'clip.mp4',
    'clip.mkv',
    'clip.avi',
    'clip.flv',
    'clip.wmv',
    'clip.webm',
    'clip.m2ts',
    'fragmented.mp4',
  ]) {
    const codes = ['none', 'video_invalid', 'video_too_short', 'video_audio_undecodable', 'image_dimensions']
    add(`half of ${name}`, 'video', cut(good(name), 0.5), ...codes)
    add(`head of ${name}`, 'video', good(name).subarray(0, 200), 'video_invalid', 'video_too_short', 'image_dimensions')
    add(`scratched ${name}`, 'video', scratched(good(name), 211), ...codes, 'video_too_long')
  }

  const floats = Float32Array.from({ length: 16_000 }, (_, i) => [Number.NaN, Infinity, -Infinity, 1e38, 0.25][i % 5]!)
  add('NaN samples', 'audio', wav(Buffer.from(floats.buffer), { code: 3, bits: 32 }), 'none')
  add('wav without samples', 'audio', wav(Buffer.alloc(0)), 'audio_empty')
  add('wav at 1 Hz', 'audio', wav(noise(4000), { rate: 1 }), 'audio_illegal')
  add('wav at 4 GHz', 'audio', wav(noise(4000), { rate: 4_000_000_000 }), 'audio_illegal')
  add('wav at 0 Hz', 'audio', wav(noise(4000), { rate: 0 }), 'audio_illegal')
  add('wav without channels', 'audio', wav(noise(4000), { channels: 0 }), 'audio_illegal')
  add(
    'wav of 65535 channels',
    'audio',
    wav(noise(400_000), { channels: 65_535, bits: 8 }),
    'audio_illegal',
    'audio_empty',
  )
  add('wav of 24 channels', 'audio', wav(noise(48_000), { channels: 24 }), 'none')
  add('wav at 7350 Hz', 'audio', wav(noise(14_700), { rate: 7350 }), 'none')
  add('wav of an unknown coding', 'audio', wav(noise(4000), { code: 0x1234 }), 'audio_illegal')
  add('too long', 'audio', wav(Buffer.alloc(1_300_000), { rate: 1000, bits: 8 }), 'audio_too_long')
  return files
}
