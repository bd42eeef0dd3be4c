/**
 * Decodes one video stream to RGB frames with FFmpeg's decoder and scaler.
 *
 * In: packets. Out: decoded frames in presentation order; rendered, they are upright interleaved 8-bit RGB with square
 * pixels, within a pixel limit, all of one size. Colours follow each frame's own colour space and range.
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
import { toRatio } from '../av/time.ts'
import { MediaError } from '../errors.ts'
import { orient, type Orientation } from './display-matrix.ts'

type OnFrame = (frame: Frame) => Promise<void> | undefined

export class FrameDecoder implements Disposable {
  failedPackets = 0
  /** Frames in which the decoder concealed errors. */
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
      throw new MediaError('video_invalid', `The video's codec ${name} is not supported. Send H.264.`)
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

  /** Decodes one packet and calls `onFrame` for each frame. @returns undefined if no `onFrame` returned a promise */
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
      const sent = onFrame(this.#frame) // uses the frame synchronously; only sending is awaited
      if (sent !== undefined) pending = pending === undefined ? sent : Promise.all([pending, sent]).then(() => {})
      this.#frame.unref()
    }
    return pending
  }
}

/** Pixel aspects outside this range come from damaged headers. */
const validAspect = (aspect: number | undefined) =>
  aspect !== undefined && aspect >= 0.1 && aspect <= 10 ? aspect : undefined

export class FrameRenderer implements Disposable {
  /** Whether a frame was converted with another colour matrix than its own. */
  approximateColours = false
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
    this.#target ??= this.#size(frame, validAspect(streamAspect) ?? validAspect(toRatio(frame.sampleAspectRatio)) ?? 1)
    const { width, height } = this.#target
    const output = this.#prepareOutput(width, height)
    // Input and output have the same transfer and primaries, so that HDR is not tone-mapped, as in Qwen's loader.
    output.colorTrc = frame.colorTrc
    output.colorPrimaries = frame.colorPrimaries
    // The output is progressive, as in Qwen's loader, and the scaler requires the same of its input.
    frame.clearFlags(AV_FRAME_FLAG_INTERLACED)
    if (this.#scaler.scaleFrameSync(output, frame) < 0) this.#scaleApproximately(output, frame)
    return orient(withoutPadding(output, width, height), width, height, this.#orientation)
  }

  [Symbol.dispose](): void {
    this.#output?.free()
    this.#scaler.freeContext()
  }

  /** Scales with another colour matrix where the scaler does not support the frame's own (ICtCp, YCgCo, ...). */
  #scaleApproximately(output: Frame, frame: Frame): void {
    for (const image of [output, frame]) {
      image.colorTrc = AVCOL_TRC_UNSPECIFIED
      image.colorPrimaries = AVCOL_PRI_UNSPECIFIED
    }
    if (this.#scaler.scaleFrameSync(output, frame) >= 0) return
    frame.colorSpace = frame.colorSpace === AVCOL_SPC_BT2020_CL ? AVCOL_SPC_BT2020_NCL : AVCOL_SPC_UNSPECIFIED
    if (this.#scaler.scaleFrameSync(output, frame) < 0) {
      throw new MediaError('video_invalid', "The video's pixels cannot be converted to RGB.")
    }
    this.approximateColours = true
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
  const displayWidth = width * pixelAspect
  const scale = Math.min(1, Math.sqrt(maxPixels / (displayWidth * height)))
  // A scaled size is rounded down to stay within the limit.
  const round = scale < 1 ? Math.floor : Math.round
  return { width: Math.max(1, round(displayWidth * scale)), height: Math.max(1, round(height * scale)) }
}

/** Size of rendered frames, computed from the container's header: upright, square pixels, within a pixel limit. */
export function renderedSize(
  { codecpar, sampleAspectRatio }: Stream,
  orientation: Orientation,
  maxPixels: number,
): { width: number; height: number } {
  const aspect = validAspect(toRatio(sampleAspectRatio)) ?? validAspect(toRatio(codecpar.sampleAspectRatio)) ?? 1
  const { width, height } = scaledSize(codecpar, aspect, maxPixels)
  return orientation.quarterTurns % 2 === 1 ? { width: height, height: width } : { width, height }
}

/** Copies RGB rows without FFmpeg's padding. */
function withoutPadding(frame: Frame, width: number, height: number): Uint8Array {
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
