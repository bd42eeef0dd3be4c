/**
 * A video file to sampled frames and its sound, in a decoder process.
 *
 * Two passes: packets first (when is each frame shown?), then decoding, taking only the frames wanted. Each is converted
 * to RGB with its own colour space, shown with square pixels and the right way up, and sent at once, so that the process
 * holds one frame at a time. In: any allowed container. Out: `frame`, `pcm` and `done` replies.
 *
 * Reference: Qwen's `qwen-omni-utils` for which frames; the guide's limits.
 */
import {
  AVDISCARD_ALL,
  AVMEDIA_TYPE_AUDIO,
  AVMEDIA_TYPE_VIDEO,
  AV_DISPOSITION_ATTACHED_PIC,
  AV_NOPTS_VALUE,
  AV_PKT_DATA_DISPLAYMATRIX,
} from 'node-av/constants'
import type { Frame, Stream } from 'node-av/lib'
import { sendPieces, soundWarnings } from '../audio/decode.ts'
import { soundRate } from '../audio/rate.ts'
import { SoundDecoder } from '../audio/sound-decoder.ts'
import { MediaInput } from '../av/input.ts'
import { rate, seconds } from '../av/time.ts'
import type { VideoFacts } from '../decoder/messages.ts'
import type { Send } from '../decoder/worker.ts'
import { MediaError } from '../errors.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import { durationTolerance, type VideoLimits } from '../limits.ts'
import { orientationOf, type Orientation } from './display-matrix.ts'
import { FrameRenderer, PictureDecoder } from './picture-decoder.ts'
import { sampledFrameCount, sampledFrameIndices } from './sample-frames.ts'
import { readTimeline, type Timeline } from './timeline.ts'

/** An offset between sound and pictures that is worth keeping; less is a codec's priming. Seconds. */
const leastOffset = 0.05

interface Plan {
  readonly timeline: Timeline
  readonly indices: readonly number[]
  readonly orientation: Orientation
  readonly facts: VideoFacts
  readonly warnings: string[]
}

/** @throws MediaError `video_invalid`, `video_too_long`, `video_too_short`, `video_audio_undecodable`, `image_dimensions` */
export async function decodeVideo(source: SpooledBytes, limits: Required<VideoLimits>, send: Send): Promise<void> {
  const plan = makePlan(source, limits)
  using input = MediaInput.open(source, 'video')
  const video = pictureStream(input)
  const sound = soundStream(input, plan)
  for (const stream of input.streams) {
    if (stream.index !== video.index && stream.index !== sound?.index) stream.discard = AVDISCARD_ALL
  }
  const pieces: Float32Array[] = []
  using soundDecoder = sound === undefined ? undefined : openSound(sound, pieces, plan, limits)
  if (soundDecoder !== undefined) alignSound(soundDecoder, plan)
  using pictures = new PictureDecoder(video, limits.maxPixels)
  using renderer = new FrameRenderer(plan.orientation, framePixels(limits, plan.indices.length))
  const taker = new FrameTaker(plan, video, renderer, send)
  const mostSamples = (limits.maxDurationSeconds + durationTolerance) * soundRate

  await input.readPacketsAsync((packet) => {
    if (packet.streamIndex === sound?.index && soundDecoder !== undefined) {
      soundDecoder.push(packet)
      if (soundDecoder.samples > mostSamples) throw tooLong(limits)
      return sendPieces(pieces, send)
    }
    if (packet.streamIndex !== video.index) return undefined
    if (taker.done) return soundDecoder === undefined ? false : undefined
    return pictures.push(packet, (frame) => taker.take(frame))
  })
  if (!taker.done) await pictures.flush((frame) => taker.take(frame))
  finishPictures(taker, plan)
  if (soundDecoder !== undefined) {
    soundDecoder.flush()
    if (soundDecoder.samples > mostSamples) throw tooLong(limits)
    await sendPieces(pieces, send)
    checkSound(soundDecoder, plan, limits)
  }
  const hasAudio = (soundDecoder?.samples ?? 0) > 0
  await send({ type: 'done', warnings: plan.warnings, video: { ...plan.facts, hasAudio } })
}

/** First pass: what is in the file, whether it is allowed, and which frames to take. */
function makePlan(source: SpooledBytes, limits: Required<VideoLimits>): Plan {
  using input = MediaInput.open(source, 'video')
  const video = pictureStream(input)
  const warnings: string[] = []
  const orientation = orientationOf(video.codecpar.getCodedSideData(AV_PKT_DATA_DISPLAYMATRIX))
  const { width, height } = checkSize(video, orientation, limits)
  const soundIndex = input.format.findBestStream(AVMEDIA_TYPE_AUDIO)
  const sound = soundIndex < 0 ? undefined : input.streams[soundIndex]
  const timeline = readTimeline(input, video, sound, limits.maxDurationSeconds + durationTolerance)
  if (timeline === undefined) throw tooLong(limits)
  const { frameCount, fps, durationSeconds } = timeline
  if (frameCount === 0) throw new MediaError('video_invalid', 'The video has no frames.')
  const count = sampledFrameCount(frameCount, fps, limits)
  if (count === undefined || durationSeconds < limits.minDurationSeconds - durationTolerance) {
    const least = limits.minDurationSeconds > 0 ? `${limits.minDurationSeconds} s` : 'half a second and two frames'
    throw new MediaError(
      'video_too_short',
      `The video is too short: ${durationSeconds.toFixed(2)} s, ${frameCount} frames; at least ${least} is needed.`,
    )
  }
  if (sound !== undefined && timeline.soundPackets === 0) warnings.push('the sound track is empty')
  const facts: VideoFacts = {
    durationSeconds,
    width,
    height,
    sourceFrameCount: frameCount,
    sourceFps: fps,
    sampledFps: (count / frameCount) * fps,
    hasAudio: false,
    codec: PictureDecoder.codecName(video),
  }
  return { timeline, indices: sampledFrameIndices(frameCount, count), orientation, facts, warnings }
}

function pictureStream(input: MediaInput): Stream {
  const stream = input.streams[input.format.findBestStream(AVMEDIA_TYPE_VIDEO)]
  if (stream === undefined || (stream.disposition & AV_DISPOSITION_ATTACHED_PIC) !== 0) {
    throw new MediaError('video_invalid', 'The file has no moving pictures in it. Send sound alone as `input_audio`.')
  }
  return stream
}

function soundStream(input: MediaInput, plan: Plan): Stream | undefined {
  const index = input.format.findBestStream(AVMEDIA_TYPE_AUDIO)
  return index < 0 || plan.timeline.soundPackets === 0 ? undefined : input.streams[index]
}

/** Refuses by header, before a decoder is opened. Gives the stored size with rotation applied. */
function checkSize(video: Stream, orientation: Orientation, limits: Required<VideoLimits>) {
  const { width: w, height: h } = video.codecpar
  if (w <= 0 || h <= 0) throw new MediaError('video_invalid', 'The video does not say how large its frames are.')
  if (w * h > limits.maxPixels) {
    const detail = `${w} x ${h} is more than ${limits.maxPixels} pixels`
    throw new MediaError('image_dimensions', `The video's frames are too large: ${detail}.`, { detail })
  }
  if (Math.min(w, h) <= limits.minSide) {
    const detail = `height:${h} or width:${w} must be larger than ${limits.minSide}`
    throw new MediaError('image_dimensions', `The video's frames are too small: ${detail}.`, { detail })
  }
  if (Math.max(w, h) / Math.min(w, h) > limits.maxAspect) {
    const detail = `absolute aspect ratio must be smaller than ${limits.maxAspect}, got ${w} / ${h}`
    throw new MediaError('image_dimensions', `The video's frames are too narrow: ${detail}.`, { detail })
  }
  return orientation.quarterTurns % 2 === 1 ? { width: h, height: w } : { width: w, height: h }
}

function openSound(
  stream: Stream,
  pieces: Float32Array[],
  plan: Plan,
  limits: Required<VideoLimits>,
): SoundDecoder | undefined {
  try {
    return new SoundDecoder(stream, (piece) => pieces.push(piece))
  } catch (cause) {
    undecodable(`the video's sound cannot be decoded: ${(cause as Error).message}`, plan, limits, cause)
    return undefined
  }
}

/** Puts the sound on the pictures' clock: silence first where the sound starts later. */
function alignSound(decoder: SoundDecoder, { timeline, warnings }: Plan): void {
  const offset = (timeline.soundStart ?? timeline.start) - timeline.start
  if (offset < leastOffset) return
  if (offset <= timeline.durationSeconds) decoder.pad(offset)
  else warnings.push('the sound starts after the pictures end; it is placed at the start')
}

function checkSound(decoder: SoundDecoder, plan: Plan, limits: Required<VideoLimits>): void {
  if (decoder.failedPackets > decoder.packets / 2) {
    undecodable(`the video's ${decoder.codecName} sound is broken: most of it cannot be decoded`, plan, limits)
  }
  plan.warnings.push(...soundWarnings(decoder, undefined))
}

/** A clip that would be silent by mistake: refused, or said aloud. */
function undecodable(reason: string, plan: Plan, limits: Required<VideoLimits>, cause?: unknown): void {
  if (limits.undecodableSound === 'warn') {
    plan.warnings.push(reason)
    return
  }
  const fix = 'Send it with sound as AAC, MP3, Opus or PCM, or without a sound track.'
  throw new MediaError('video_audio_undecodable', `${reason[0]!.toUpperCase()}${reason.slice(1)}. ${fix}`, { cause })
}

function finishPictures(taker: FrameTaker, plan: Plan): void {
  if (taker.taken < 2) throw new MediaError('video_invalid', 'The video is broken: its frames cannot be decoded.')
  const missing = plan.indices.length - taker.taken
  if (missing > 0) plan.warnings.push(`${missing} of ${plan.indices.length} frames are cut off or cannot be decoded`)
}

function framePixels(limits: Required<VideoLimits>, frames: number): number {
  return Math.min(limits.maxFramePixels, Math.floor(limits.maxTotalPixels / frames))
}

function tooLong(limits: Required<VideoLimits>): MediaError {
  return new MediaError(
    'video_too_long',
    `The video is longer than the ${limits.maxDurationSeconds} s the model takes.`,
  )
}

/** Takes the wanted frames as they come by, in the order they are shown. */
class FrameTaker {
  taken = 0
  readonly #plan: Plan
  readonly #video: Stream
  readonly #renderer: FrameRenderer
  readonly #send: Send
  #shown = 0

  constructor(plan: Plan, video: Stream, renderer: FrameRenderer, send: Send) {
    this.#plan = plan
    this.#video = video
    this.#renderer = renderer
    this.#send = send
  }

  get done(): boolean {
    return this.taken >= this.#plan.indices.length
  }

  /** Undefined when the frame is not wanted. A frame wanted twice is sent twice. */
  take(frame: Frame): Promise<void> | undefined {
    const { times, start, fps } = this.#plan.timeline
    const position = this.#shown
    this.#shown += 1
    const timed = times.length > 0 && frame.bestEffortTimestamp !== AV_NOPTS_VALUE
    const time = frame.bestEffortTimestamp
    const reached = () => {
      const index = this.#plan.indices[this.taken]
      return index !== undefined && (timed ? time >= times[index]! : position >= index)
    }
    if (!reached()) return undefined
    const picture = this.#renderer.render(frame, rate(this.#video.sampleAspectRatio))
    const timestamp = timed ? (seconds(time, this.#video.timeBase) ?? start) - start : position / fps
    return (async () => {
      while (reached()) {
        this.taken += 1
        const { data, ...size } = picture
        // oxlint-disable-next-line no-await-in-loop -- frames are in order
        await this.#send({ type: 'frame', ...size, timestamp: Math.max(0, timestamp) }, data)
      }
    })()
  }
}
