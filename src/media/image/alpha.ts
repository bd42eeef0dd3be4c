/**
 * Whether an image's fourth channel is alpha. The file declares it; without alpha the channel may hold anything. Pure.
 *
 * Reference: BITMAPINFOHEADER, BITMAPV4HEADER (masks); TIFF 6.0, ExtraSamples (0 is unspecified data).
 */

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

/** The first value of a tag of 16-bit numbers in the first directory; undefined if the tag is missing. */
function tiffShort(file: Buffer, tag: number): number | undefined {
  const littleEndian = file.toString('latin1', 0, 2) === 'II'
  const u16 = (offset: number) => (littleEndian ? file.readUInt16LE(offset) : file.readUInt16BE(offset))
  const u32 = (offset: number) => (littleEndian ? file.readUInt32LE(offset) : file.readUInt32BE(offset))
  const u64 = (offset: number) => Number(littleEndian ? file.readBigUInt64LE(offset) : file.readBigUInt64BE(offset))
  const isBigTiff = u16(2) === 43
  const start = isBigTiff ? u64(8) : u32(4)
  const count = isBigTiff ? u64(start) : u16(start)
  const [first, entryBytes] = isBigTiff ? [start + 8, 20] : [start + 2, 12]
  for (let i = 0; i < Math.min(count, 1000); i += 1) {
    const entry = first + i * entryBytes
    if (u16(entry) !== tag) continue
    const values = isBigTiff ? u64(entry + 4) : u32(entry + 4)
    const inline = isBigTiff ? 4 : 2
    if (values <= inline) return u16(entry + (isBigTiff ? 12 : 8))
    return u16(isBigTiff ? u64(entry + 12) : u32(entry + 8))
  }
  return undefined
}
