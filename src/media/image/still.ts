/**
 * Decodes one still image with FFmpeg, for formats that libvips is built without: BMP, SGI, JPEG 2000.
 *
 * In: a whole file. Out: interleaved 8-bit RGBA. The decoder gets the file itself, without demuxer and probing.
 */
import {
  AV_CODEC_ID_BMP,
  AV_CODEC_ID_JPEG2000,
  AV_CODEC_ID_SGI,
  AV_LOG_QUIET,
  AV_PIX_FMT_RGBA,
} from 'node-av/constants'
import { Codec, CodecContext, Frame, Log, Packet, SoftwareScaleContext } from 'node-av/lib'
import { MediaError } from '../errors.ts'

export interface RgbaImage {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array
}

const codecIds = { bmp: AV_CODEC_ID_BMP, sgi: AV_CODEC_ID_SGI, jp2: AV_CODEC_ID_JPEG2000 } as const

/** @throws MediaError `image_illegal` */
export function decodeStill(bytes: Uint8Array, format: keyof typeof codecIds, maxPixels: number): RgbaImage {
  Log.setLevel(AV_LOG_QUIET)
  const codec = Codec.findDecoder(codecIds[format])
  if (codec === null) throw broken(format, 'this build of FFmpeg has no decoder for it')
  using context = new CodecContext()
  context.allocContext3(codec)
  context.threadCount = 1
  context.setOption('max_pixels', maxPixels)
  if (context.open2Sync(codec, null) < 0) throw broken(format, 'its decoder does not open')
  using packet = new Packet()
  packet.alloc()
  packet.data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  using frame = new Frame()
  frame.alloc()
  if (context.sendPacketSync(packet) < 0) throw broken(format, 'it is broken')
  context.sendPacketSync(null)
  if (context.receiveFrameSync(frame) < 0) throw broken(format, 'it is broken')
  if (frame.decodeErrorFlags !== 0) throw broken(format, 'it is cut off or broken')
  return toRgba(frame, format)
}

function toRgba(frame: Frame, format: string): RgbaImage {
  const { width, height } = frame
  using scaler = new SoftwareScaleContext()
  scaler.allocContext()
  scaler.setOption('sws_flags', 'bicubic+accurate_rnd+full_chroma_int')
  using output = new Frame()
  output.alloc()
  output.width = width
  output.height = height
  output.format = AV_PIX_FMT_RGBA
  output.allocBuffer()
  if (scaler.scaleFrameSync(output, frame) < 0) throw broken(format, 'its colours cannot be converted')
  const plane = output.data![0]!
  const stride = output.linesize[0]!
  const row = width * 4
  const data = new Uint8Array(row * height)
  for (let y = 0; y < height; y += 1) data.set(plane.subarray(y * stride, y * stride + row), y * row)
  return { width, height, data }
}

function broken(format: string, reason: string): MediaError {
  return new MediaError('image_illegal', `The ${format} image cannot be opened: ${reason}.`, { kind: 'image' })
}
