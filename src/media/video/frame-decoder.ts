/**
 * One video stream to RGB frames: FFmpeg's decoder and scaler.
 *
 * In: packets. Out: decoded frames in presentation order; rendered, interleaved 8-bit RGB with square pixels, upright,
 * within a pixel limit, all of one size. Colours follow each frame's own colour space and range.
 */
import { availableParallelism } from 'node:os'
import {
  AVCOL_PRI_UNSPECIFIED,
  AVCOL_SPC_BT2020_CL,
  AVCOL_SPC_BT2020_NCL,
  AVCOL_SPC_UNSPECIFIED,
  AVCOL_TRC_UNSPECIFIED,
  AV_FRAME_FLAG_INTERLACED,
  AV_PIX_FMT_RGB24,
} from 'node-av/constants'
import { CodecContext, Frame, type Packet, SoftwareScaleContext, type Stream } from 'node-av/lib'
import { allowedDecoder, codecName, videoDecoders } from '../av/formats.ts'
import { rate } from '../av/time.ts'
import { MediaError } from '../errors.ts'
import { orient, type Orientation } from './display-matrix.ts'

type OnFrame = (frame: Frame) => Promise<void> | undefined

export class FrameDecoder implements Disposable {
  failedPackets = 0
  /** Frames that came out with errors concealed. */
  damagedFrames = 0
  readonly #context: CodecContext
  readonly #frame: Frame

  static codecName(stream: Stream): string {
    return codecName(stream.codecpar)
  }

  /** @throws MediaError `video_invalid` when there is no allowed decoder, or it does not open */
  constructor(stream: Stream, maxPixels: number) {
    const name = FrameDecoder.codecName(stream)
    const codec = allowedDecoder(stream.codecpar.codecId, videoDecoders)
    if (codec === undefined) {
      throw new MediaError('video_invalid', `The video is ${name}, which cannot be decoded. Send H.264.`)
    }
    this.#context = new CodecContext()
    this.#context.allocContext3(codec)
    this.#context.parametersToContext(stream.codecpar)
    this.#context.pktTimebase = stream.timeBase
    this.#context.threadCount = Math.min(4, availableParallelism())
    this.#context.setOption('max_pixels', maxPixels)
    if (this.#context.open2Sync(codec, null) < 0) {
      this.#context.freeContext()
      throw new MediaError('video_invalid', `The video's ${name} frames cannot be decoded.`)
    }
    this.#frame = new Frame()
    this.#frame.alloc()
  }

  /** Undefined when the consumer did not wait. */
  push(packet: Packet, onFrame: OnFrame): Promise<void> | undefined {
    if (this.#context.sendPacketSync(packet) < 0) this.failedPackets += 1
    return this.#receive(onFrame)
  }

  flush(onFrame: OnFrame): Promise<void> | undefined {
    this.#context.sendPacketSync(null)
    return this.#receive(onFrame)
  }

  [Symbol.dispose](): void {
    this.#frame.free()
    this.#context.freeContext()
  }

  #receive(onFrame: OnFrame): Promise<void> | undefined {
    let pending: Promise<void> | undefined
    while (this.#context.receiveFrameSync(this.#frame) >= 0) {
      if (this.#frame.decodeErrorFlags !== 0) this.damagedFrames += 1
      const taken = onFrame(this.#frame) // renders at once; only sending is awaited
      if (taken !== undefined) pending = pending === undefined ? taken : Promise.all([pending, taken]).then(() => {})
      this.#frame.unref()
    }
    return pending
  }
}

/** Pixel aspects outside this are damaged headers. */
const saneAspect = (aspect: number | undefined) =>
  aspect !== undefined && aspect >= 0.1 && aspect <= 10 ? aspect : undefined

export class FrameRenderer implements Disposable {
  /** Whether a frame's colours were converted by another matrix than its own. */
  roughColours = false
  readonly #orientation: Orientation
  readonly #maxPixels: number
  readonly #scaler = new SoftwareScaleContext()
  #target: { width: number; height: number } | undefined
  #output: Frame | undefined

  constructor(orientation: Orientation, maxPixels: number) {
    this.#orientation = orientation
    this.#maxPixels = maxPixels
    this.#scaler.allocContext()
    this.#scaler.setOption('sws_flags', 'bicubic+accurate_rnd+full_chroma_int')
  }

  /**
   * @param streamAspect the container's pixel aspect, which takes precedence over the codec's
   * @throws MediaError `video_invalid`
   */
  render(frame: Frame, streamAspect: number | undefined): { data: Uint8Array; width: number; height: number } {
    this.#target ??= this.#size(frame, saneAspect(streamAspect) ?? saneAspect(rate(frame.sampleAspectRatio)) ?? 1)
    const { width, height } = this.#target
    const output = this.#prepareOutput(width, height)
    // Same transfer and primaries on both sides: high dynamic range keeps its code values, as in the model's own
    // loader, without tone mapping.
    output.colorTrc = frame.colorTrc
    output.colorPrimaries = frame.colorPrimaries
    // Both fields are one frame here, as in the model's own loader; the scaler accepts no pair that differs in this.
    frame.clearFlags(AV_FRAME_FLAG_INTERLACED)
    if (this.#scaler.scaleFrameSync(output, frame) < 0) this.#scaleRoughly(output, frame)
    return orient(packed(output, width, height), width, height, this.#orientation)
  }

  [Symbol.dispose](): void {
    this.#output?.free()
    this.#scaler.freeContext()
  }

  /**
   * A matrix that the scaler lacks (ICtCp, YCgCo, ...) is replaced by the nearest available one, as in FFmpeg's older
   * scaler.
   */
  #scaleRoughly(output: Frame, frame: Frame): void {
    for (const each of [output, frame]) {
      each.colorTrc = AVCOL_TRC_UNSPECIFIED
      each.colorPrimaries = AVCOL_PRI_UNSPECIFIED
    }
    if (this.#scaler.scaleFrameSync(output, frame) >= 0) return
    frame.colorSpace = frame.colorSpace === AVCOL_SPC_BT2020_CL ? AVCOL_SPC_BT2020_NCL : AVCOL_SPC_UNSPECIFIED
    if (this.#scaler.scaleFrameSync(output, frame) < 0) {
      throw new MediaError('video_invalid', "The video's pixels cannot be converted to RGB.")
    }
    this.roughColours = true
  }

  #size(frame: Frame, pixelAspect: number): { width: number; height: number } {
    return scaledSize(frame, pixelAspect, this.#maxPixels)
  }

  #prepareOutput(width: number, height: number): Frame {
    if (this.#output === undefined) {
      const output = new Frame()
      output.alloc()
      output.width = width
      output.height = height
      output.format = AV_PIX_FMT_RGB24
      output.allocBuffer()
      this.#output = output
    }
    return this.#output
  }
}

function scaledSize(
  { width, height }: { readonly width: number; readonly height: number },
  pixelAspect: number,
  maxPixels: number,
): { width: number; height: number } {
  const shown = width * pixelAspect
  const scale = Math.min(1, Math.sqrt(maxPixels / (shown * height)))
  // Rounded down when scaled, so that the product stays within the limit.
  const round = scale < 1 ? Math.floor : Math.round
  return { width: Math.max(1, round(shown * scale)), height: Math.max(1, round(height * scale)) }
}

/** Size of rendered frames by the container's header: square pixels, upright, within a pixel limit. */
export function renderedSize(
  { codecpar, sampleAspectRatio }: Stream,
  orientation: Orientation,
  maxPixels: number,
): { width: number; height: number } {
  const aspect = saneAspect(rate(sampleAspectRatio)) ?? saneAspect(rate(codecpar.sampleAspectRatio)) ?? 1
  const { width, height } = scaledSize(codecpar, aspect, maxPixels)
  return orientation.quarterTurns % 2 === 1 ? { width: height, height: width } : { width, height }
}

/** Rows without FFmpeg's padding; a copy. */
function packed(frame: Frame, width: number, height: number): Uint8Array {
  const plane = frame.data![0]!
  const stride = frame.linesize[0]!
  const row = width * 3
  const out = new Uint8Array(row * height)
  if (stride === row) {
    out.set(plane.subarray(0, out.length))
    return out
  }
  for (let y = 0; y < height; y += 1) out.set(plane.subarray(y * stride, y * stride + row), y * row)
  return out
}
