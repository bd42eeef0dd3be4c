/**
 * Whether an image's fourth channel is alpha. The file declares it; without alpha the channel may hold anything. Pure.
 *
 * Reference: BITMAPINFOHEADER, BITMAPV4HEADER (masks); TIFF 6.0, ExtraSamples (0 is unspecified data).
 */
import { tiffShort } from './tiff-tag.ts'

/** A BMP has alpha only if it declares bit masks and the alpha mask is not zero. */
export function bmpHasAlpha(file: Buffer): boolean {
  if (file.length < 70) return false
  const [bitFields, alphaBitFields] = [3, 6]
  const compression = file.readUInt32LE(30)
  const headerBytes = file.readUInt32LE(14)
  const hasMask = (compression === bitFields && headerBytes >= 56) || compression === alphaBitFields
  return hasMask && file.readUInt32LE(66) !== 0
}

const extraSamplesTag = 338

/** True for a TIFF whose fourth channel is declared as unspecified data, which is not alpha. */
export function tiffExtraIsUnspecified(file: Buffer): boolean {
  try {
    const value = tiffShort(file, extraSamplesTag)
    return value === 0
  } catch {
    return false // RangeError: past the end; the decoder reports it
  }
}
