/**
 * Reads a frame's orientation from a container's display matrix, and applies it.
 *
 * Reference: ISO/IEC 14496-12, the transformation matrix of a track header; FFmpeg's `libavutil/display.h`.
 */

/** Clockwise quarter turns of the image, after an optional left-right mirroring. */
export interface Orientation {
  readonly quarterTurns: 0 | 1 | 2 | 3
  readonly mirrored: boolean
}

export const upright: Orientation = { quarterTurns: 0, mirrored: false }

/** @param matrix nine native-endian 32-bit fixed-point numbers, as in FFmpeg's side data; null for none */
export function orientationOf(matrix: Buffer | null): Orientation {
  if (matrix === null || matrix.length < 36) return upright
  const element = (i: number) => matrix.readInt32LE(i * 4) / 65_536
  // (x, y) -> (a x + c y, b x + d y)
  const [a, b, c, d] = [element(0), element(1), element(3), element(4)]
  const determinant = a * d - b * c
  if (!(Math.abs(determinant) > 1e-6)) return upright
  const mirrored = determinant < 0
  // Without the mirroring (x -> -x first) the rest is a rotation, rounded to the nearest quarter turn.
  const degrees = (Math.atan2(mirrored ? -b : b, mirrored ? -a : a) * 180) / Math.PI
  return { quarterTurns: (((Math.round(degrees / 90) % 4) + 4) % 4) as Orientation['quarterTurns'], mirrored }
}

/** Rotates and mirrors interleaved RGB pixels. Returns `rgb` itself if it is already upright. */
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
