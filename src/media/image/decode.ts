/**
 * Decodes an image file to interleaved 8-bit RGB. Runs in a decoder process.
 *
 * In: JPEG, PNG, WebP, GIF, TIFF, AVIF (libvips), BMP, SGI, JPEG 2000 (FFmpeg), ICO, ICNS (the largest image inside);
 * not SVG, which can refer to other files. Out: one `image` reply. The header's size is checked before decoding. The
 * orientation is applied; the first frame of an animation is used; palettes, grey, 16 bits and CMYK become RGB;
 * transparency becomes white, as in Qwen's loader. Colour profiles of RGB images are not applied, because the models
 * were trained on pixels that were read without them.
 */
import { readFileSync } from 'node:fs'
import sharp, { type Metadata, type Sharp } from 'sharp'
import type { Send } from '../decoder/worker.ts'
import { MediaError } from '../errors.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import { checkDimensions } from '../dimension-limits.ts'
import type { ImageLimits } from '../limits.ts'
import { expectKind, type ImageFormat, sniff, sniffLength } from '../sniff.ts'
import { bmpHasAlpha, tiffExtraIsUnspecified } from './alpha.ts'
import { setStandardHeader } from './bmp-header.ts'
import { headerSize, type Size } from './dimensions.ts'
import { firstFrame, type Rectangle } from './gif.ts'
import { applyMask, largestIcon } from './icon.ts'
import { tiffIsYCbCr } from './tiff-tag.ts'

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
  await send(header, probe ? undefined : await renderRgb(opened, limits))
  await send({ type: 'done', warnings: [] })
}

interface OpenImage {
  readonly image: Sharp
  /** Size with the orientation applied. */
  readonly size: Size
  /** Whether the fourth channel is not alpha and is dropped. */
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
  if (format === 'tiff' && tiffIsYCbCr(file))
    throw new MediaError('image_illegal', 'The tiff image has YCbCr pixels, which are not supported. Save it as RGB.')
  const bytes = format === 'avif' ? withStillBrand(file) : format === 'jpeg' ? await withEndMarker(file, limits) : file
  const options = { limitInputPixels: limits.maxPixels, failOn: 'error', sequentialRead: true, pages: 1 } as const
  const metadata = await readHeader(sharp(bytes, { ...options, limitInputPixels: false }), format)
  const size = { width: metadata.autoOrient.width, height: metadata.autoOrient.height }
  checkDimensions(size, limits, 'The image is')
  const image = sharp(bytes, { ...options, autoOrient: true, ignoreIcc: metadata.space !== 'cmyk' })
  if (format === 'tiff' && metadata.hasAlpha && tiffExtraIsUnspecified(bytes)) return { image, size, opaque: true }
  if (format === 'gif') return { image: await onCanvas(image, firstFrame(bytes), size), size }
  return { image, size }
}

/** An AVIF sequence also has a still image. libvips finds it only if the file has the still image's brand. */
function withStillBrand(bytes: Buffer): Buffer {
  if (bytes.toString('latin1', 8, 12) !== 'avis') return bytes
  const still = Buffer.from(bytes)
  still.write('avif', 8, 'latin1')
  return still
}

const endOfImage = Buffer.from([0xff, 0xd9])

/**
 * Appends the end marker to a JPEG that lacks only that. To detect this, other data is appended: if the decoder still
 * needs data, it reads it and the pixels change, so that the JPEG is incomplete.
 */
async function withEndMarker(bytes: Buffer, { maxPixels }: Limits): Promise<Buffer> {
  if (bytes.subarray(-2).equals(endOfImage)) return bytes
  const body = bytes.at(-1) === 0xff ? bytes.subarray(0, -1) : bytes
  const ended = Buffer.concat([body, endOfImage])
  const extended = Buffer.concat([body, Buffer.alloc(64, 0x55), endOfImage])
  const options = { limitInputPixels: maxPixels, failOn: 'none', sequentialRead: true } as const
  try {
    const pixels = await sharp(ended, options).raw().toBuffer()
    return pixels.equals(await sharp(extended, options).raw().toBuffer()) ? ended : bytes
  } catch {
    return bytes
  }
}

/** Fills the canvas of a GIF with white where its first frame does not cover it. */
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
  checkDimensions(size, limits, 'The image is')
  const { decodeStill } = await import('./still.ts')
  if (format !== 'bmp') return raw(decodeStill(bytes, format, limits.maxPixels))
  const sized = Buffer.from(bytes)
  sized.writeUInt32LE(bytes.length, 2) // many writers declare a file size of 0, which FFmpeg refuses
  setStandardHeader(sized)
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
      if (size === undefined) throw new MediaError('image_illegal', "The icon's bitmap header is broken.")
      checkDimensions(size, limits, 'The image is')
      const { decodeStill } = await import('./still.ts')
      return raw(applyMask(decodeStill(icon.bytes, 'bmp', limits.maxPixels), icon.mask, icon.hasAlpha))
    }
    case 'rgba':
      checkDimensions(icon, limits, 'The image is')
      return raw(icon)
    default:
      return icon satisfies never
  }
}

function raw({ width, height, data }: Size & { data: Uint8Array }): OpenImage {
  return { image: sharp(data, { raw: { width, height, channels: 4 } }), size: { width, height } }
}

/** The size after scaling down to at most `maxOutputPixels`. */
function deliveredSize({ width, height }: Size, { maxOutputPixels }: Limits): Size {
  if (width * height <= maxOutputPixels) return { width, height }
  const scale = Math.sqrt(maxOutputPixels / (width * height))
  const scaled = (side: number) => Math.max(1, Math.floor(side * scale))
  return { width: scaled(width), height: scaled(height) }
}

async function renderRgb({ image, size, opaque = false }: OpenImage, limits: Limits): Promise<Buffer> {
  const { width, height } = deliveredSize(size, limits)
  const colours = opaque ? image.removeAlpha() : image.flatten({ background })
  const pipeline =
    width === size.width && height === size.height ? colours : colours.resize(width, height, { fit: 'fill' })
  try {
    const { data, info } = await pipeline
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    if (info.channels !== 3) throw new Error(`it decodes to ${info.channels} channels instead of 3`)
    if (info.width !== width || info.height !== height)
      throw new Error(`it decodes to ${info.width} x ${info.height} instead of ${width} x ${height}`)
    return data
  } catch (cause) {
    throw new MediaError('image_illegal', `The image is broken: ${reasonOf(cause)}.`, { cause })
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function reasonOf(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause)
  return message
    .split('\n')[0]!
    .slice(0, 160)
    .replace(/[.:]+$/, '')
}
