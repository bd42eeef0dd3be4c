/** Scales the frames of a list to one size. Runs in the API server's process, on decoded pixels. */
import sharp from 'sharp'
import type { RgbImage } from '../../contract/index.ts'

/** Scales frames of another size to the first frame's (bicubic); other frames are returned unchanged. */
export async function unifySizes(images: readonly RgbImage[]): Promise<RgbImage[]> {
  const first = images[0]
  if (first === undefined) return []
  const { width, height } = first
  const out: RgbImage[] = []
  for (const image of images) {
    if (image.width === width && image.height === height) {
      out.push({ width, height, data: image.data })
      continue
    }
    const raw = { width: image.width, height: image.height, channels: 3 } as const
    // oxlint-disable-next-line no-await-in-loop -- one at a time, to limit memory
    const data = await sharp(image.data, { raw })
      .resize(width, height, { fit: 'fill', kernel: 'cubic' })
      .raw()
      .toBuffer()
    out.push({ width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) })
  }
  return out
}
