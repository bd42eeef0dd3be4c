/**
 * A video file to sampled frames and its audio, in a decoder process.
 *
 * Two passes: packets first (when is each frame shown?), then decoding, taking only the frames wanted. Each is converted
 * to RGB with its own colour space, shown with square pixels and the right way up, and sent at once, so that the process
 * holds one frame at a time. In: any allowed container. Out: `frame`, `pcm` and `done` replies.
 *
 * Reference: Qwen's `qwen-omni-utils` for which frames; the guide's limits.
 */
import { AV_NOPTS_VALUE } from 'node-av/constants'
import type { Frame, Stream } from 'node-av/lib'
import { sendPieces, soundWarnings } from '../audio/decode.ts'
import { soundRate } from '../audio/rate.ts'
import { SoundDecoder, timesAreKept } from '../audio/sound-decoder.ts'
import { openBytes } from '../av/bytes.ts'
import { MediaInput } from '../av/input.ts'
import { rate, seconds } from '../av/time.ts'
import type { Send } from '../decoder/worker.ts'
import { MediaError } from '../errors.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import { durationTolerance, type VideoLimits } from '../limits.ts'
import { FrameRenderer, PictureDecoder } from './picture-decoder.ts'
import { framePixels, planVideo, undecodable, type VideoPlan, videoTooLong } from './plan.ts'

type Limits = Required<VideoLimits>

/** @throws MediaError `video_invalid`, `video_too_long`, `video_too_short`, `video_audio_undecodable`, `image_dimensions` */
export async function decodeVideo(source: SpooledBytes, limits: Limits, send: Send): Promise<void> {
  using bytes = openBytes(source)
  const plan = planVideo(bytes, limits)
  using input = MediaInput.open(bytes, 'video', { deep: plan.deep })
  const video = input.currentStreams[plan.video]!
  const pieces: Float32Array[] = []
  using audio = openAudio(input, pieces, plan)
  using pictures = new PictureDecoder(video, limits.maxPixels)
  using renderer = new FrameRenderer(plan.orientation, framePixels(limits, plan.indices.length))
  const taker = new FrameTaker(plan, video, renderer, send)
  const mostSamples = (limits.maxDurationSeconds + durationTolerance) * soundRate

  await input.readPacketsAsync((packet) => {
    if (packet.streamIndex === plan.audio && audio !== undefined) {
      audio.push(packet)
      if (audio.samples > mostSamples) throw videoTooLong(limits)
      return sendPieces(pieces, send)
    }
    if (packet.streamIndex !== video.index) return undefined
    if (taker.done) return audio === undefined ? false : undefined
    return pictures.push(packet, (frame) => taker.take(frame))
  })
  if (!taker.done) await pictures.flush((frame) => taker.take(frame))
  finishPictures(taker, pictures, renderer, plan)
  if (audio !== undefined) {
    audio.flush()
    if (audio.samples > mostSamples) throw videoTooLong(limits)
    await sendPieces(pieces, send)
    checkAudio(audio, plan, limits)
  }
  const hasAudio = (audio?.samples ?? 0) > 0
  await send({ type: 'done', warnings: plan.warnings, video: { ...plan.facts, hasAudio } })
}

/** On the video's clock: silence first where the audio starts later, without what comes before the first frame. */
function openAudio(input: MediaInput, pieces: Float32Array[], plan: VideoPlan): SoundDecoder | undefined {
  if (plan.audio === undefined) return undefined
  const { start, durationSeconds, audioStart } = plan.timeline
  const afterEnd = audioStart(plan.audio) > start + durationSeconds
  if (afterEnd) plan.warnings.push('the audio starts after the video ends; it is placed at the start')
  return new SoundDecoder(input.currentStreams[plan.audio]!, (piece) => pieces.push(piece), {
    zero: afterEnd ? undefined : start,
    byTime: timesAreKept(input),
  })
}

function checkAudio(decoder: SoundDecoder, plan: VideoPlan, limits: Limits): void {
  if (decoder.failedPackets > decoder.packets / 2) {
    undecodable(`the video's ${decoder.codecName} audio is broken: most of it cannot be decoded`, plan.warnings, limits)
  } else if (decoder.samples === 0) plan.warnings.push('the audio ends before the video begins; it was left out')
  plan.warnings.push(...soundWarnings(decoder))
}

function finishPictures(taker: FrameTaker, pictures: PictureDecoder, renderer: FrameRenderer, plan: VideoPlan): void {
  if (taker.taken < 2) throw new MediaError('video_invalid', 'The video is broken: its frames cannot be decoded.')
  const missing = plan.indices.length - taker.taken
  if (missing > 0) plan.warnings.push(`${missing} of ${plan.indices.length} frames are cut off or cannot be decoded`)
  if (pictures.failedPackets > 0)
    plan.warnings.push(`${pictures.failedPackets} video packets are broken and were left out`)
  if (pictures.damagedFrames > 0) plan.warnings.push(`${pictures.damagedFrames} frames are damaged`)
  if (renderer.roughColours) plan.warnings.push('the colours are in a system that is converted only roughly')
}

/** Takes the wanted frames as they come by, in the order they are shown. */
class FrameTaker {
  taken = 0
  readonly #plan: VideoPlan
  readonly #video: Stream
  readonly #renderer: FrameRenderer
  readonly #send: Send
  #shown = 0

  constructor(plan: VideoPlan, video: Stream, renderer: FrameRenderer, send: Send) {
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
