/**
 * Bicubic resize with antialiasing of 8-bit RGB pixels, bit-exact with the two libraries behind transformers'
 * processors: one pass per direction, fixed-point weights, each pass rounded to 8 bits.
 *
 * They differ in the weights' precision and in which direction comes first. Images use Pillow's arithmetic, video
 * frames torch's.
 *
 * Reference: Pillow 13 `Image.resize(..., BICUBIC)`; torch 2.13 `interpolate(mode="bicubic", antialias=True)` on uint8.
 */

import type { RgbImage } from '../contract/index.ts'
import { createYield } from './event-loop-yield.ts'

/** The library whose arithmetic is used. */
export type ResizeStyle = 'pillow' | 'torch'

/** Weights of one output pixel's sources: `weights[i * taps + k]` belongs to source `starts[i] + k`. */
interface Kernel {
  /** Weights are multiplied by 2 to this power. */
  readonly precision: number
  readonly starts: Int32Array
  readonly counts: Int32Array
  readonly weights: Float64Array
  readonly taps: number
}

/**
 * Resizes an image, and yields to the event loop. Throws the signal's reason. Returns the input if the size is equal.
 */
export async function resizeBicubic(
  image: RgbImage,
  width: number,
  height: number,
  style: ResizeStyle,
  signal?: AbortSignal,
): Promise<RgbImage> {
  // Pillow starts with the direction that reduces the image more; rows count double.
  const rowsFirst = style === 'pillow' && height < image.height && image.height - height > 2 * (image.width - width)
  if (rowsFirst) return resizeColumns(await resizeRows(image, height, style, signal), width, style, signal)
  return resizeRows(await resizeColumns(image, width, style, signal), height, style, signal)
}

async function resizeColumns(
  image: RgbImage,
  width: number,
  style: ResizeStyle,
  signal?: AbortSignal,
): Promise<RgbImage> {
  if (width === image.width) return image
  const yieldIfDue = createYield(signal)
  const kernel = bicubicKernel(image.width, width, style)
  const data = new Uint8Array(width * image.height * 3)
  for (let y = 0; y < image.height; y++) {
    const pause = yieldIfDue()
    if (pause !== undefined) await pause
    resizeRow(image.data, y * image.width * 3, data, y * width * 3, width, kernel)
  }
  return { width, height: image.height, data }
}

async function resizeRows(
  image: RgbImage,
  height: number,
  style: ResizeStyle,
  signal?: AbortSignal,
): Promise<RgbImage> {
  if (height === image.height) return image
  const yieldIfDue = createYield(signal)
  const { precision, starts, counts, weights, taps } = bicubicKernel(image.height, height, style)
  const stride = image.width * 3
  const data = new Uint8Array(stride * height)
  const sums = new Float64Array(stride)
  for (let y = 0; y < height; y++) {
    const pause = yieldIfDue()
    if (pause !== undefined) await pause
    sums.fill(2 ** (precision - 1))
    for (let k = 0; k < counts[y]!; k++) {
      const weight = weights[y * taps + k]!
      const source = (starts[y]! + k) * stride
      for (let i = 0; i < stride; i++) sums[i]! += weight * image.data[source + i]!
    }
    const unit = 2 ** precision
    for (let i = 0; i < stride; i++) data[y * stride + i] = clamp(sums[i]! / unit)
  }
  return { width: image.width, height, data }
}

function resizeRow(
  data: Uint8Array,
  source: number,
  out: Uint8Array,
  target: number,
  width: number,
  { precision, starts, counts, weights, taps }: Kernel,
): void {
  const half = 2 ** (precision - 1)
  const unit = 2 ** precision
  for (let x = 0; x < width; x++) {
    let red = half
    let green = half
    let blue = half
    let at = source + starts[x]! * 3
    for (let k = 0; k < counts[x]!; k++, at += 3) {
      const weight = weights[x * taps + k]!
      red += weight * data[at]!
      green += weight * data[at + 1]!
      blue += weight * data[at + 2]!
    }
    out[target + x * 3] = clamp(red / unit)
    out[target + x * 3 + 1] = clamp(green / unit)
    out[target + x * 3 + 2] = clamp(blue / unit)
  }
}

function clamp(sum: number): number {
  const value = Math.floor(sum)
  return value < 0 ? 0 : value > 255 ? 255 : value
}

function bicubicKernel(from: number, to: number, style: ResizeStyle): Kernel {
  const scale = from / to
  const stretch = Math.max(scale, 1)
  const support = 2 * stretch
  const taps = Math.ceil(support) * 2 + 1
  const starts = new Int32Array(to)
  const counts = new Int32Array(to)
  const weights = new Float64Array(to * taps)
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale
    const start = Math.max(0, Math.trunc(centre - support + 0.5))
    const end = Math.min(from, Math.trunc(centre + support + 0.5))
    let total = 0
    for (let k = 0; k < end - start; k++) {
      const weight = bicubic((k + start - centre + 0.5) / stretch)
      weights[i * taps + k] = weight
      total += weight
    }
    for (let k = 0; k < end - start; k++) weights[i * taps + k]! /= total
    starts[i] = start
    counts[i] = end - start
  }
  const precision = style === 'pillow' ? 22 : shortPrecision(weights)
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]! * 2 ** precision
    weights[i] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5)
  }
  return { precision, starts, counts, weights, taps }
}

/** The most bits that keep every weight a 16-bit integer, 22 at most. */
function shortPrecision(weights: Float64Array): number {
  let largest = 0
  for (const weight of weights) if (weight > largest) largest = weight
  let precision = 0
  while (precision < 22 && Math.trunc(0.5 + largest * 2 ** (precision + 1)) < 2 ** 15) precision++
  return precision
}

/** Keys' kernel with a = -0.5. */
function bicubic(x: number): number {
  const a = -0.5
  const d = Math.abs(x)
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1
  if (d < 2) return (((d - 5) * d + 8) * d - 4) * a
  return 0
}
