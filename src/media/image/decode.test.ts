import sharp from 'sharp'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Send } from '../decoder/worker.ts'
import { defaultImageLimits } from '../limits.ts'
import { decodeImage } from './decode.ts'

const file = (name: string) => readFileSync(new URL(`../../../testdata/media/${name}`, import.meta.url))

const decode = async (bytes: Buffer) => {
  let image: { data: Buffer; width: number; height: number } | undefined
  const send: Send = async (header, payload) => {
    if (header.type === 'image') image = { data: Buffer.from(payload!), width: header.width, height: header.height }
  }
  await decodeImage({ memory: bytes }, defaultImageLimits, send)
  return image!
}

const failure = async (bytes: Buffer) =>
  decode(bytes).then(
    () => 'none',
    (error: Error & { code?: string }) => `${error.code}: ${error.message}`,
  )

/** Distinct colours of an image. */
const colours = ({ data }: { data: Buffer }) => {
  const found = new Set<string>()
  for (let i = 0; i < data.length; i += 3) found.add([...data.subarray(i, i + 3)].join())
  return [...found]
}

describe('a fourth channel that is not alpha', () => {
  /** 32 x 32 pixels of blue 10, green 20, red 30 and a fourth byte. */
  const bmp = (fourth: number, headerBytes: number, compression: number, alphaMask = 0) => {
    const masks = Buffer.alloc(16)
    for (const [i, mask] of [0xff0000, 0xff00, 0xff, alphaMask].entries()) masks.writeUInt32LE(mask, i * 4)
    const inHeader = Buffer.concat([masks, Buffer.alloc(Math.max(0, headerBytes - 56))]).subarray(0, headerBytes - 40)
    const maskBytes = compression === 6 ? 16 : compression === 3 ? 12 : 0
    const afterHeader = headerBytes === 40 ? masks.subarray(0, maskBytes) : Buffer.alloc(0)
    const pixels = Buffer.concat(Array.from({ length: 32 * 32 }, () => Buffer.from([10, 20, 30, fourth])))
    const head = Buffer.alloc(54)
    head.write('BM')
    head.writeUInt32LE(14 + headerBytes + afterHeader.length, 10)
    head.writeUInt32LE(headerBytes, 14)
    head.writeInt32LE(32, 18)
    head.writeInt32LE(32, 22)
    head.writeUInt16LE(1, 26)
    head.writeUInt16LE(32, 28)
    head.writeUInt32LE(compression, 30)
    return Buffer.concat([head, inHeader, afterHeader, pixels])
  }
  const [plain, bitFields, alphaBitFields] = [0, 3, 6]

  it.each([
    ['no masks', 40, plain, 0],
    ['masks without alpha', 40, bitFields, 0],
    ['a version 2 header', 52, bitFields, 0],
    ['an alpha mask of 0', 40, alphaBitFields, 0],
    ['a version 5 header without an alpha mask', 124, bitFields, 0],
    ['a version 5 header whose masks are not used', 124, plain, 0xff000000],
  ])('BMP with %s is opaque', async (_name, headerBytes, compression, mask) => {
    for (const fourth of [0, 1, 128, 255]) {
      // oxlint-disable-next-line no-await-in-loop -- one image at a time
      expect(colours(await decode(bmp(fourth, headerBytes, compression, mask)))).toEqual(['30,20,10'])
    }
  })

  it('BMP with an alpha mask has alpha', async () => {
    expect(colours(await decode(bmp(0x80, 108, bitFields, 0xff000000)))).toEqual(['142,137,132'])
    expect(colours(await decode(bmp(0x80, 56, bitFields, 0xff000000)))).toEqual(['142,137,132'])
    expect(colours(await decode(bmp(0x80, 40, alphaBitFields, 0xff000000)))).toEqual(['142,137,132'])
  })

  it.each(['little', 'big'])(
    'TIFF, %s-endian: a fourth sample that is unspecified is ignored, one that is alpha is used',
    async (order) => {
      const tiff = tiffOf(order === 'big', 0)
      expect(colours(await decode(tiff))).toEqual(['30,20,10'])
      expect(colours(await decode(tiffOf(order === 'big', 2)))).toEqual(['254,254,254'])
    },
  )

  it('TIFF with YCbCr pixels is refused', async () => {
    for (const big of [false, true]) {
      // oxlint-disable-next-line no-await-in-loop -- one image at a time
      expect(await failure(tiffOf(big, 0, 6))).toMatch(/^image_illegal: .*YCbCr.*RGB/)
    }
  })
})

/** 32 x 32 pixels of red 30, green 20, blue 10 and a fourth sample 1. @param extraSample 0 unspecified, 2 alpha */
function tiffOf(big: boolean, extraSample: number, photometric = 2): Buffer {
  const pixels = Buffer.concat(Array.from({ length: 32 * 32 }, () => Buffer.from([30, 20, 10, 1])))
  const u16 = (value: number) => (big ? Buffer.from([value >> 8, value & 255]) : Buffer.from([value & 255, value >> 8]))
  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4)
    if (big) bytes.writeUInt32BE(value)
    else bytes.writeUInt32LE(value)
    return bytes
  }
  const short = (tag: number, value: number) => Buffer.concat([u16(tag), u16(3), u32(1), u16(value), u16(0)])
  const long = (tag: number, value: number, count = 1) =>
    Buffer.concat([u16(tag), u16(count === 4 ? 3 : 4), u32(count), u32(value)])
  const entries = [
    short(256, 32),
    short(257, 32),
    long(258, 8, 4),
    short(259, 1),
    short(262, photometric),
    long(273, 16),
    short(277, 4),
    short(278, 32),
    long(279, pixels.length),
    short(284, 1),
    short(338, extraSample),
  ]
  const bits = Buffer.concat([u16(8), u16(8), u16(8), u16(8)])
  const directory = Buffer.concat([u16(entries.length), ...entries, u32(0)])
  const head = Buffer.concat([Buffer.from(big ? 'MM' : 'II'), u16(42), u32(16 + pixels.length)])
  return Buffer.concat([head, bits, pixels, directory])
}

describe('the canvas of a GIF', () => {
  /** A frame of one colour (200, 30, 30) on a canvas. */
  const gif = async (
    canvas: readonly [number, number],
    at: readonly [number, number],
    size: readonly [number, number],
  ) => {
    const drawn = await sharp({ create: { width: size[0], height: size[1], channels: 3, background: '#c81e1e' } })
      .gif({ colours: 2 })
      .toBuffer()
    const out = Buffer.from(drawn)
    let descriptor = 13 + ((out[10]! & 0x80) === 0 ? 0 : 3 * 2 ** ((out[10]! & 7) + 1))
    while (out[descriptor] === 0x21) {
      descriptor += 2
      while (out[descriptor] !== 0) descriptor += out[descriptor]! + 1
      descriptor += 1
    }
    out.writeUInt16LE(canvas[0], 6)
    out.writeUInt16LE(canvas[1], 8)
    out.writeUInt16LE(at[0], descriptor + 1)
    out.writeUInt16LE(at[1], descriptor + 3)
    return out
  }

  it('is white around a smaller frame', async () => {
    const image = await decode(await gif([64, 48], [10, 8], [20, 20]))
    expect([image.width, image.height]).toEqual([64, 48])
    const painted = (x: number, y: number) => [...image.data.subarray((y * 64 + x) * 3, (y * 64 + x) * 3 + 3)].join()
    const [red, white] = ['200,30,30', '255,255,255']
    expect([painted(10, 8), painted(29, 27)]).toEqual([red, red])
    expect([painted(9, 8), painted(30, 27), painted(10, 7), painted(29, 28), painted(63, 47), painted(0, 0)]).toEqual(
      Array(6).fill(white),
    )
  })

  it('is not visible if the frame covers it', async () => {
    expect(colours(await decode(await gif([20, 20], [0, 0], [20, 20])))).toEqual(['200,30,30'])
  })
})

describe('a JPEG', () => {
  const noise = sharp({
    create: {
      width: 96,
      height: 64,
      channels: 3,
      background: '#808080',
      noise: { type: 'gaussian', mean: 128, sigma: 60 },
    },
  })
  it.each([false, true])(
    'that lacks only its end marker is decoded, one that lacks more is refused (progressive %s)',
    async (progressive) => {
      const whole = await noise.clone().jpeg({ progressive }).toBuffer()
      const expected = await decode(whole)
      for (const missing of [1, 2]) {
        // oxlint-disable-next-line no-await-in-loop -- one image at a time
        expect((await decode(whole.subarray(0, -missing))).data.equals(expected.data)).toBe(true)
      }
      for (const missing of [12, 100, Math.floor(whole.length / 3)]) {
        // oxlint-disable-next-line no-await-in-loop -- one image at a time
        expect(await failure(whole.subarray(0, -missing))).toMatch(/^image_illegal: .*premature end/)
      }
    },
  )
})

it('an AVIF sequence decodes to its still image', async () => {
  const bytes = file('sequence.avif')
  expect(bytes.toString('latin1', 8, 12)).toBe('avis')
  const { width, height, data } = await decode(bytes)
  expect([width, height]).toEqual([64, 48])
  const topLeft = [...data.subarray((5 * 64 + 5) * 3, (5 * 64 + 5) * 3 + 3)]
  expect(Math.max(...topLeft.map((value, i) => Math.abs(value - [220, 30, 30][i]!)))).toBeLessThan(6)
})
