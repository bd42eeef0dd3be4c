/**
 * Extracts the largest image of an icon file (Windows ICO, Apple ICNS), in the format in which it is stored.
 *
 * In: a whole icon file. Out: an encoded PNG, BMP or JPEG 2000, or raw RGBA for Apple's packed bitmaps. One-bit and
 * palette icons of classic Mac OS are not read.
 *
 * Reference: the ICO directory and DIB layout; the Apple Icon Image format.
 */
import { MediaError } from '../errors.ts'
import type { RgbaImage } from './still.ts'

export type IconImage =
  | { readonly format: 'png' | 'jp2'; readonly bytes: Buffer }
  /** A bitmap with its one-bit mask (1 is transparent), which a BMP file cannot hold. */
  | { readonly format: 'bmp'; readonly bytes: Buffer; readonly mask: Buffer | undefined; readonly hasAlpha: boolean }
  | ({ readonly format: 'rgba' } & RgbaImage)

/** @throws MediaError `image_illegal` */
export function largestIcon(file: Buffer, format: 'ico' | 'icns'): IconImage {
  try {
    return format === 'ico' ? fromIco(file) : fromIcns(file)
  } catch (error) {
    if (error instanceof MediaError) throw error
    throw broken('it is cut off')
  }
}

const isPng = (bytes: Buffer) => bytes.length > 8 && bytes.readUInt32BE(0) === 0x89504e47

function fromIco(file: Buffer): IconImage {
  const count = file.readUInt16LE(4)
  let best: { area: number; depth: number; data: Buffer } | undefined
  for (let i = 0; i < count; i += 1) {
    const entry = 6 + i * 16
    const [width, height] = [file[entry]! || 256, file[entry + 1]! || 256]
    const depth = file.readUInt16LE(entry + 6)
    const offset = file.readUInt32LE(entry + 12)
    const data = file.subarray(offset, offset + file.readUInt32LE(entry + 8))
    const area = width * height
    const larger = best === undefined || area > best.area || (area === best.area && depth > best.depth)
    if (data.length > 40 && larger) best = { area, depth, data }
  }
  if (best === undefined) throw broken('it has no image')
  return isPng(best.data) ? { format: 'png', bytes: best.data } : fromDib(best.data)
}

/** Makes a BMP file of a bitmap without file header, whose height counts the pixels and the mask that follows them. */
function fromDib(dib: Buffer): IconImage {
  const headerBytes = dib.readUInt32LE(0)
  const width = dib.readInt32LE(4)
  const height = Math.trunc(dib.readInt32LE(8) / 2)
  const depth = dib.readUInt16LE(14)
  const colours = depth <= 8 ? dib.readUInt32LE(32) || 2 ** depth : 0
  if (headerBytes < 40 || width <= 0 || height <= 0 || width > 4096 || height > 4096)
    throw broken('its bitmap is broken')
  const pixelsAt = headerBytes + colours * 4
  const pixelBytes = Math.ceil((width * depth) / 32) * 4 * height
  const maskStride = Math.ceil(width / 32) * 4
  if (dib.length < pixelsAt + pixelBytes) throw broken('its bitmap is cut off')
  const bitmap = Buffer.from(dib.subarray(0, pixelsAt + pixelBytes))
  bitmap.writeInt32LE(height, 8)
  const header = Buffer.alloc(14)
  header.write('BM')
  header.writeUInt32LE(14 + bitmap.length, 2)
  header.writeUInt32LE(14 + pixelsAt, 10)
  const afterPixels = dib.subarray(pixelsAt + pixelBytes)
  const pixels = bitmap.subarray(pixelsAt)
  const hasAlpha = depth === 32 && pixels.some((value, i) => i % 4 === 3 && value !== 0)
  const mask =
    !hasAlpha && afterPixels.length >= maskStride * height ? flipRows(afterPixels, maskStride, height) : undefined
  return { format: 'bmp', bytes: Buffer.concat([header, bitmap]), mask, hasAlpha }
}

/** Reverses the row order: bitmaps are stored bottom row first. */
function flipRows(rows: Buffer, stride: number, height: number): Buffer {
  const out = Buffer.alloc(stride * height)
  for (let y = 0; y < height; y += 1) rows.copy(out, y * stride, (height - 1 - y) * stride, (height - y) * stride)
  return out
}

/** Sets the alpha of a bitmap without alpha, in place: transparent where masked, opaque elsewhere. */
export function applyMask(image: RgbaImage, mask: Buffer | undefined, hasAlpha: boolean): RgbaImage {
  if (hasAlpha) return image
  const { width, height, data } = image
  const stride = Math.ceil(width / 32) * 4
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const masked = mask !== undefined && ((mask[y * stride + (x >> 3)]! >> (7 - (x & 7))) & 1) === 1
      data[(y * width + x) * 4 + 3] = masked ? 0 : 255
    }
  }
  return image
}

/** Apple's packed bitmaps: side in pixels, and the type of the matching eight-bit mask. */
const packedTypes: Readonly<Record<string, { side: number; mask?: string }>> = {
  is32: { side: 16, mask: 's8mk' },
  il32: { side: 32, mask: 'l8mk' },
  ih32: { side: 48, mask: 'h8mk' },
  it32: { side: 128, mask: 't8mk' },
  ic04: { side: 16 },
  ic05: { side: 32 },
}

/** Side in pixels of the types that hold a PNG or JPEG 2000 file. */
const encodedTypes: Readonly<Record<string, number>> = Object.fromEntries(
  Object.entries({
    16: 'icp4 ic04',
    18: 'icsb',
    24: 'sb24',
    32: 'icp5 ic05 ic11',
    36: 'icsB',
    48: 'SB24',
    64: 'icp6 ic12',
    128: 'ic07',
    256: 'ic08 ic13',
    512: 'ic09 ic14',
    1024: 'ic10',
  }).flatMap(([side, types]) => types.split(' ').map((type) => [type, Number(side)])),
)

function fromIcns(file: Buffer): IconImage {
  const entries = new Map<string, Buffer>()
  let at = 8
  while (at + 8 <= file.length) {
    const length = file.readUInt32BE(at + 4)
    if (length < 8) throw broken('its directory is broken')
    entries.set(file.toString('latin1', at, at + 4), file.subarray(at + 8, at + length))
    at += length
  }
  let best: { side: number; extract: () => IconImage } | undefined
  const consider = (side: number, extract: () => IconImage) => {
    if (best === undefined || side > best.side) best = { side, extract }
  }
  for (const [type, data] of entries) {
    const side = encodedTypes[type]
    if (side !== undefined && isPng(data)) consider(side, () => ({ format: 'png', bytes: data }))
    else if (side !== undefined && isJpeg2000(data)) consider(side, () => ({ format: 'jp2', bytes: data }))
    else {
      const packed = packedTypes[type]
      if (packed !== undefined) consider(packed.side, () => unpack(type, data, packed, entries))
    }
  }
  if (best === undefined) throw broken('it has no supported image')
  return best.extract()
}

function isJpeg2000(bytes: Buffer): boolean {
  return bytes.length > 12 && (bytes.toString('latin1', 4, 8) === 'jP  ' || bytes.readUInt32BE(0) === 0xff4fff51)
}

function unpack(
  type: string,
  data: Buffer,
  { side, mask }: { side: number; mask?: string },
  entries: ReadonlyMap<string, Buffer>,
): IconImage {
  const pixels = side * side
  const argb = data.toString('latin1', 0, 4) === 'ARGB'
  const start = argb ? 4 : type === 'it32' ? 4 : 0
  const planes = decodeRunLengths(data.subarray(start), pixels * (argb ? 4 : 3))
  const alpha = argb ? planes.subarray(0, pixels) : mask === undefined ? undefined : entries.get(mask)
  const rgb = argb ? planes.subarray(pixels) : planes
  const rgba = new Uint8Array(pixels * 4)
  for (let i = 0; i < pixels; i += 1) {
    rgba[i * 4] = rgb[i]!
    rgba[i * 4 + 1] = rgb[pixels + i]!
    rgba[i * 4 + 2] = rgb[2 * pixels + i]!
    rgba[i * 4 + 3] = alpha?.[i] ?? 255
  }
  return { format: 'rgba', width: side, height: side, data: rgba }
}

/** Apple's run lengths. A control byte below 128: `control + 1` literal bytes; else one byte `control - 125` times. */
function decodeRunLengths(packed: Buffer, size: number): Buffer {
  if (packed.length === size) return packed
  const out = Buffer.alloc(size)
  let filled = 0
  let at = 0
  while (filled < size) {
    const control = packed[at]
    if (control === undefined) throw broken('one of its images is cut off')
    const run = control < 128 ? control + 1 : control - 125
    if (control < 128) packed.copy(out, filled, at + 1, at + 1 + run)
    else out.fill(packed[at + 1]!, filled, filled + run)
    at += control < 128 ? 1 + run : 2
    filled += run
  }
  return out
}

function broken(reason: string): MediaError {
  return new MediaError('image_illegal', `The icon cannot be opened: ${reason}.`, { kind: 'image' })
}
