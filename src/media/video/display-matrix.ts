/**
 * A stored frame's orientation: quarter turns and mirroring from a container's display matrix.
 *
 * Reference: ISO/IEC 14496-12, the transformation matrix of a track header; FFmpeg's `libavutil/display.h`.
 */

/** A quarter-turn of the image, clockwise, after an optional left-right mirroring. */
export interface Orientation {
  readonly quarterTurns: 0 | 1 | 2 | 3
  readonly mirrored: boolean
}

export const upright: Orientation = { quarterTurns: 0, mirrored: false }

/** @param matrix nine native-endian 32-bit fixed-point numbers, as FFmpeg's side data carries them */
export function orientationOf(matrix: Buffer | null): Orientation {
  if (matrix === null || matrix.length < 36) return upright
  const at = (i: number) => matrix.readInt32LE(i * 4) / 65_536
  // (x, y) -> (a x + c y, b x + d y)
  const [a, b, c, d] = [at(0), at(1), at(3), at(4)]
  const determinant = a * d - b * c
  if (!(Math.abs(determinant) > 1e-6)) return upright
  const mirrored = determinant < 0
  // Undo the mirroring (x -> -x first), the rest is a turn; angles between are rounded to the nearest quarter.
  const degrees = (Math.atan2(mirrored ? -b : b, mirrored ? -a : a) * 180) / Math.PI
  return { quarterTurns: (((Math.round(degrees / 90) % 4) + 4) % 4) as Orientation['quarterTurns'], mirrored }
}

/** Turns interleaved RGB pixels; returns the input when there is nothing to do. */
export function orient(
  rgb: Uint8Array,
  width: number,
  height: number,
  orientation: Orientation,
): { data: Uint8Array; width: number; height: number } {
  const { quarterTurns, mirrored } = orientation
  if (quarterTurns === 0 && !mirrored) return { data: rgb, width, height }
  const swapped = quarterTurns % 2 === 1
  const [outWidth, outHeight] = swapped ? [height, width] : [width, height]
  const out = new Uint8Array(rgb.length)
  let to = 0
  for (let y = 0; y < outHeight; y += 1) {
    for (let x = 0; x < outWidth; x += 1) {
      let [fromX, fromY] = [x, y]
      if (quarterTurns === 1) [fromX, fromY] = [y, height - 1 - x]
      else if (quarterTurns === 2) [fromX, fromY] = [width - 1 - x, height - 1 - y]
      else if (quarterTurns === 3) [fromX, fromY] = [width - 1 - y, x]
      if (mirrored) fromX = width - 1 - fromX
      const from = (fromY * width + fromX) * 3
      out[to] = rgb[from]!
      out[to + 1] = rgb[from + 1]!
      out[to + 2] = rgb[from + 2]!
      to += 3
    }
  }
  return { data: out, width: outWidth, height: outHeight }
}
