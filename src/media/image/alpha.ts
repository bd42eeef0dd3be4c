/**
 * Whether a fourth value is transparency, by the file's own declaration: an unused byte may hold anything. Pure.
 *
 * Reference: BITMAPINFOHEADER, BITMAPV4HEADER (masks); TIFF 6.0, ExtraSamples (0 is unspecified data).
 */

/** A BMP has alpha where it gives the channels' masks and one of them is alpha's; plain 32-bit pixels have none. */
export function bmpHasAlpha(file: Buffer): boolean {
  if (file.length < 70) return false
  const [bitFields, alphaBitFields] = [3, 6]
  const compression = file.readUInt32LE(30)
  const headerBytes = file.readUInt32LE(14)
  const hasMask = (compression === bitFields && headerBytes >= 56) || compression === alphaBitFields
  return hasMask && file.readUInt32LE(66) !== 0
}

const extraSamples = 338

/** True for a TIFF that calls the samples beyond colour unspecified: not alpha, though a fourth value is there. */
export function tiffExtraIsUnspecified(file: Buffer): boolean {
  try {
    const value = tiffShort(file, extraSamples)
    return value === 0
  } catch {
    return false // RangeError: past the end; the decoder reports it
  }
}

/** The first value of a tag of 16-bit numbers in the first directory; undefined where it is missing. */
function tiffShort(file: Buffer, wanted: number): number | undefined {
  const little = file.toString('latin1', 0, 2) === 'II'
  const u16 = (at: number) => (little ? file.readUInt16LE(at) : file.readUInt16BE(at))
  const u32 = (at: number) => (little ? file.readUInt32LE(at) : file.readUInt32BE(at))
  const u64 = (at: number) => Number(little ? file.readBigUInt64LE(at) : file.readBigUInt64BE(at))
  const big = u16(2) === 43
  const start = big ? u64(8) : u32(4)
  const count = big ? u64(start) : u16(start)
  const [first, size] = big ? [start + 8, 20] : [start + 2, 12]
  for (let i = 0; i < Math.min(count, 1000); i += 1) {
    const entry = first + i * size
    if (u16(entry) !== wanted) continue
    const values = big ? u64(entry + 4) : u32(entry + 4)
    const inline = big ? 4 : 2
    if (values <= inline) return u16(entry + (big ? 12 : 8))
    return u16(big ? u64(entry + 12) : u32(entry + 8))
  }
  return undefined
}
