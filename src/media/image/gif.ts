/**
 * The position of a GIF's first frame on its canvas. Pure.
 *
 * Reference: GIF89a, sections 18 (logical screen descriptor) and 20 (image descriptor).
 */

export interface Rectangle {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

/** @returns undefined when the file ends or is broken before its first frame */
export function firstFrame(file: Buffer): Rectangle | undefined {
  const tableBytes = (flags: number) => ((flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1))
  let at = 13 + tableBytes(file[10] ?? 0)
  while (at + 10 <= file.length) {
    const block = file[at]
    if (block === 0x2c) {
      const [left, top] = [file.readUInt16LE(at + 1), file.readUInt16LE(at + 3)]
      return { left, top, width: file.readUInt16LE(at + 5), height: file.readUInt16LE(at + 7) }
    }
    if (block !== 0x21) return undefined
    at += 2
    while (at < file.length && file[at] !== 0) at += file[at]! + 1
    at += 1
  }
  return undefined
}
