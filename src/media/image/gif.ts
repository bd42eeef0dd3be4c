/**
 * Finds the position of a GIF's first frame on its canvas. Pure.
 *
 * Reference: GIF89a, sections 18 (logical screen descriptor) and 20 (image descriptor).
 */

export interface Rectangle {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

/** @returns pixels, or undefined if the file ends or is broken before its first frame */
export function firstFrame(file: Buffer): Rectangle | undefined {
  const tableBytes = (flags: number) => ((flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1))
  let offset = 13 + tableBytes(file[10] ?? 0)
  while (offset + 10 <= file.length) {
    const block = file[offset]
    if (block === 0x2c) {
      const [left, top] = [file.readUInt16LE(offset + 1), file.readUInt16LE(offset + 3)]
      return { left, top, width: file.readUInt16LE(offset + 5), height: file.readUInt16LE(offset + 7) }
    }
    if (block !== 0x21) return undefined
    offset += 2
    while (offset < file.length && file[offset] !== 0) offset += file[offset]! + 1
    offset += 1
  }
  return undefined
}
