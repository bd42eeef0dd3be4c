/**
 * An image file to interleaved 8-bit RGB, in a decoder process.
 *
 * In: JPEG, PNG, WebP, GIF, TIFF, AVIF (libvips), BMP, SGI, JPEG 2000 (FFmpeg), ICO, ICNS (the largest image inside);
 * never SVG, which can refer to other files. Out: one `image` reply. Size is checked by the header before a pixel is
 * decoded. Orientation is applied; of animations the first frame counts; palettes, grey, 16 bits and CMYK become RGB;
 * transparency becomes white, as in Qwen's own loader. Colour profiles of RGB images are not applied, because the
 * models were trained on pixels read without them.
 */
import { readFileSync } from 'node:fs'
import sharp, { type Metadata, type Sharp } from 'sharp'
import type { Send } from '../decoder/worker.ts'
import { MediaError } from '../errors.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import type { ImageLimits } from '../limits.ts'
import { expectKind, type ImageFormat, sniff, sniffLength } from '../sniff.ts'
import { bmpHasAlpha, tiffExtraIsUnspecified } from './alpha.ts'
import { headerSize, type Size } from './dimensions.ts'
import { firstFrame, type Rectangle } from './gif.ts'
import { applyMask, largestIcon } from './icon.ts'

sharp.cache(false)
sharp.concurrency(1)

type Limits = Required<ImageLimits>

/** The colour behind transparency. */
const background = '#ffffff'

/** @throws MediaError `image_illegal`, `image_dimensions` */
export async function decodeImage(source: SpooledBytes, limits: Limits, send: Send, probe = false): Promise<void> {
  const bytes = 'memory' in source ? asBuffer(source.memory) : readFileSync(source.path)
  const sniffed = await sniff(bytes.subarray(0, sniffLength))
  expectKind(sniffed, 'image')
  const format = sniffed.imageFormat!
  const opened = await openImage(bytes, format, limits)
  const { size } = opened
  const { width, height } = deliveredSize(size, limits)
  const header = { type: 'image', width, height, sourceWidth: size.width, sourceHeight: size.height, format } as const
  await send(header, probe ? undefined : await rendered(opened, limits))
  await send({ type: 'done', warnings: [] })
}

interface OpenImage {
  readonly image: Sharp
  /** As shown: orientation applied. */
  readonly size: Size
  /** Values beyond colour mean nothing and are dropped. */
  readonly opaque?: boolean
}

async function openImage(bytes: Buffer, format: ImageFormat, limits: Limits): Promise<OpenImage> {
  switch (format) {
    case 'jpeg':
    case 'png':
    case 'webp':
    case 'gif':
    case 'tiff':
    case 'avif':
      return openVips(bytes, format, limits)
    case 'bmp':
    case 'sgi':
    case 'jp2':
      return openStill(bytes, format, limits)
    case 'ico':
    case 'icns':
      return openIcon(bytes, format, limits)
    default:
      return format satisfies never
  }
}

async function openVips(file: Buffer, format: ImageFormat, limits: Limits): Promise<OpenImage> {
  const bytes = format === 'avif' ? stillOfSequence(file) : format === 'jpeg' ? await withEnd(file, limits) : file
  const options = { limitInputPixels: limits.maxPixels, failOn: 'error', sequentialRead: true, pages: 1 } as const
  const metadata = await readHeader(sharp(bytes, { ...options, limitInputPixels: false }), format)
  const size = { width: metadata.autoOrient.width, height: metadata.autoOrient.height }
  checkSize(size, limits)
  const image = sharp(bytes, { ...options, autoOrient: true, ignoreIcc: metadata.space !== 'cmyk' })
  if (format === 'tiff' && metadata.hasAlpha && tiffExtraIsUnspecified(bytes)) return { image, size, opaque: true }
  if (format === 'gif') return { image: await onCanvas(image, firstFrame(bytes), size), size }
  return { image, size }
}

/** A sequence holds a still image, too; libvips finds it only under the still image's brand. */
function stillOfSequence(bytes: Buffer): Buffer {
  if (bytes.toString('latin1', 8, 12) !== 'avis') return bytes
  const still = Buffer.from(bytes)
  still.write('avif', 8, 'latin1')
  return still
}

const endOfImage = Buffer.from([0xff, 0xd9])

/**
 * A JPEG that lacks only its end marker is complete. The decoder shows it by what it does with appended data: a decoder
 * that still needs data reads it, and the pixels change.
 */
async function withEnd(bytes: Buffer, { maxPixels }: Limits): Promise<Buffer> {
  if (bytes.subarray(-2).equals(endOfImage)) return bytes
  const cut = bytes.at(-1) === 0xff ? bytes.subarray(0, -1) : bytes
  const ended = Buffer.concat([cut, endOfImage])
  const filled = Buffer.concat([cut, Buffer.alloc(64, 0x55), endOfImage])
  const options = { limitInputPixels: maxPixels, failOn: 'none', sequentialRead: true } as const
  try {
    const pixels = await sharp(ended, options).raw().toBuffer()
    return pixels.equals(await sharp(filled, options).raw().toBuffer()) ? ended : bytes
  } catch {
    return bytes
  }
}

/** White where a GIF's first frame leaves its canvas empty. */
async function onCanvas(image: Sharp, frame: Rectangle | undefined, { width, height }: Size): Promise<Sharp> {
  if (frame === undefined) return image
  const { left, top } = frame
  const right = Math.min(width, left + frame.width)
  const bottom = Math.min(height, top + frame.height)
  if ((left === 0 && top === 0 && right === width && bottom === height) || left >= right || top >= bottom) return image
  const region = { left, top, width: right - left, height: bottom - top }
  const drawn = await image
    .extract(region)
    .flatten({ background })
    .extend({ left, top, right: width - right, bottom: height - bottom, background })
    .raw()
    .toBuffer({ resolveWithObject: true })
  return sharp(drawn.data, { raw: { width, height, channels: drawn.info.channels } })
}

async function readHeader(image: Sharp, format: ImageFormat): Promise<Metadata> {
  try {
    return await image.metadata()
  } catch (cause) {
    throw new MediaError('image_illegal', `The ${format} image cannot be opened: ${reasonOf(cause)}.`, { cause })
  }
}

async function openStill(bytes: Buffer, format: 'bmp' | 'sgi' | 'jp2', limits: Limits): Promise<OpenImage> {
  const size = headerSize(bytes, format)
  if (size === undefined) throw new MediaError('image_illegal', `The ${format} image's header is broken.`)
  checkSize(size, limits)
  const { decodeStill } = await import('./still.ts')
  if (format !== 'bmp') return raw(decodeStill(bytes, format, limits.maxPixels))
  const sized = Buffer.from(bytes)
  sized.writeUInt32LE(bytes.length, 2) // many writers leave the file's size at 0, which FFmpeg refuses
  const still = decodeStill(sized, format, limits.maxPixels)
  if (!bmpHasAlpha(bytes)) for (let i = 3; i < still.data.length; i += 4) still.data[i] = 255
  return raw(still)
}

async function openIcon(bytes: Buffer, format: 'ico' | 'icns', limits: Limits): Promise<OpenImage> {
  const icon = largestIcon(bytes, format)
  switch (icon.format) {
    case 'png':
      return openVips(icon.bytes, 'png', limits)
    case 'jp2':
      return openStill(icon.bytes, 'jp2', limits)
    case 'bmp': {
      const size = headerSize(icon.bytes, 'bmp')
      if (size === undefined) throw new MediaError('image_illegal', "The icon's bitmap is broken.")
      checkSize(size, limits)
      const { decodeStill } = await import('./still.ts')
      return raw(applyMask(decodeStill(icon.bytes, 'bmp', limits.maxPixels), icon.mask, icon.hasAlpha))
    }
    case 'rgba':
      checkSize(icon, limits)
      return raw(icon)
    default:
      return icon satisfies never
  }
}

function raw({ width, height, data }: Size & { data: Uint8Array }): OpenImage {
  return { image: sharp(data, { raw: { width, height, channels: 4 } }), size: { width, height } }
}

/** Scaled down to the most pixels that are delivered. */
function deliveredSize({ width, height }: Size, { maxOutputPixels }: Limits): Size {
  if (width * height <= maxOutputPixels) return { width, height }
  const scale = Math.sqrt(maxOutputPixels / (width * height))
  const fit = (side: number) => Math.max(1, Math.floor(side * scale))
  return { width: fit(width), height: fit(height) }
}

async function rendered({ image, size, opaque = false }: OpenImage, limits: Limits): Promise<Buffer> {
  const { width, height } = deliveredSize(size, limits)
  const colours = opaque ? image.removeAlpha() : image.flatten({ background })
  const pipeline =
    width === size.width && height === size.height ? colours : colours.resize(width, height, { fit: 'fill' })
  try {
    const { data, info } = await pipeline
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    if (info.channels !== 3) throw new Error(`it has ${info.channels} channels`)
    if (info.width !== width || info.height !== height)
      throw new Error(`it is ${info.width} x ${info.height} where its header says ${width} x ${height}`)
    return data
  } catch (cause) {
    throw new MediaError('image_illegal', `The image is broken: ${reasonOf(cause)}.`, { cause })
  }
}

/** @throws MediaError `image_dimensions`, with the service's own text as detail */
function checkSize({ width, height }: Size, limits: Limits): void {
  if (width * height > limits.maxPixels) {
    const detail = `${width} x ${height} is more than ${limits.maxPixels} pixels`
    throw new MediaError('image_dimensions', `The image is too large: ${detail}.`, { detail })
  }
  if (Math.min(width, height) <= limits.minSide) {
    const detail = `height:${height} or width:${width} must be larger than ${limits.minSide}`
    throw new MediaError('image_dimensions', `The image is too small: ${detail}.`, { detail })
  }
  if (Math.max(width, height) / Math.min(width, height) > limits.maxAspect) {
    const ratio = Math.max(width, height) / Math.min(width, height)
    const detail = `absolute aspect ratio must be smaller than ${limits.maxAspect}, got ${ratio}`
    throw new MediaError('image_dimensions', `The image is too narrow: ${detail}.`, { detail })
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function reasonOf(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause)
  return message.split('\n')[0]!.slice(0, 160).replace(/\.$/, '')
}
