/**
 * Reads tags of a TIFF's first directory. Pure.
 *
 * Reference: TIFF 6.0, sections 2 and 21 (YCbCr); BigTIFF.
 */

const tags = { compression: 259, photometric: 262 } as const
const yCbCr = 6
/** libtiff converts the YCbCr of JPEG data to RGB. */
const jpegCompressions: readonly (number | undefined)[] = [6, 7]

/** True for pixels that libvips would return as YCbCr. */
export function tiffIsYCbCr(file: Buffer): boolean {
  try {
    return tiffShort(file, tags.photometric) === yCbCr && !jpegCompressions.includes(tiffShort(file, tags.compression))
  } catch {
    return false // RangeError: past the end; the decoder reports it
  }
}

/** The first value of a tag of 16-bit numbers in the first directory; undefined if the tag is missing. */
export function tiffShort(file: Buffer, tag: number): number | undefined {
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
