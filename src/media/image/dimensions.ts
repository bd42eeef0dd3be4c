/**
 * Reads an image's size from its header, for the formats that libvips does not read. Pure.
 *
 * Reference: BITMAPINFOHEADER; ISO/IEC 15444-1 (image header box, SIZ marker); the SGI image file format.
 */

export interface Size {
  readonly width: number
  readonly height: number
}

/** @returns the size in pixels, or undefined if the header is cut off or broken */
export function headerSize(bytes: Uint8Array, format: 'bmp' | 'sgi' | 'jp2'): Size | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    switch (format) {
      case 'bmp':
        return bmpSize(view)
      case 'sgi':
        return { width: view.getUint16(6), height: view.getUint16(8) }
      case 'jp2':
        return jp2Size(view, bytes)
      default:
        return format satisfies never
    }
  } catch {
    return undefined // RangeError: past the end
  }
}

function bmpSize(view: DataView): Size {
  const isCoreHeader = view.getUint32(14, true) === 12
  if (isCoreHeader) return { width: view.getUint16(18, true), height: view.getUint16(20, true) }
  return { width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true)) }
}

function jp2Size(view: DataView, bytes: Uint8Array): Size | undefined {
  if (view.getUint32(0) === 0xff4fff51) {
    return { width: view.getUint32(8) - view.getUint32(16), height: view.getUint32(12) - view.getUint32(20) }
  }
  const offset = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 65_536)).indexOf('ihdr')
  return offset < 0 ? undefined : { height: view.getUint32(offset + 4), width: view.getUint32(offset + 8) }
}
