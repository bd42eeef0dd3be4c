/**
 * Rewrites the two BMP headers with bit masks that FFmpeg refuses. The masks are at the same place in both forms.
 *
 * Reference: BITMAPINFOHEADER, BITMAPV2INFOHEADER and BITMAPV3INFOHEADER; BI_ALPHABITFIELDS (Windows CE).
 */

const headerBytes = { info: 40, v2: 52, v3: 56 } as const
const compressions = { bitFields: 3, alphaBitFields: 6 } as const

/** Changes the file in place. @param file whole BMP file of at least 34 bytes */
export function setStandardHeader(file: Buffer): void {
  const size = file.readUInt32LE(14)
  const compression = file.readUInt32LE(30)
  if (size === headerBytes.v2 && compression === compressions.bitFields) file.writeUInt32LE(headerBytes.info, 14)
  if (size === headerBytes.info && compression === compressions.alphaBitFields) {
    file.writeUInt32LE(headerBytes.v3, 14)
    file.writeUInt32LE(compressions.bitFields, 30)
  }
}
