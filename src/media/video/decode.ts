/**
 * Decodes a video file to sampled frames and its audio. Runs in a decoder process.
 *
 * The first pass reads packets for their presentation timestamps. The second pass decodes; each sampled frame is
 * converted to upright RGB with square pixels and sent at once, so that the process holds one frame at a time. In: any
 * allowed container. Out: `frame`, `pcm` and `done` replies.
 *
 * Reference: Qwen's `qwen-omni-utils` for the choice of frames; the guide's limits.
 */
import { AV_NOPTS_VALUE } from 'node-av/constants'
import type { Frame, Stream } from 'node-av/lib'
import { sendPieces, audioWarnings } from '../audio/decode.ts'
import { audioRate } from '../audio/rate.ts'
import { AudioDecoder } from '../audio/audio-decoder.ts'
import { openByteSource } from '../av/bytes.ts'
import { MediaInput } from '../av/input.ts'
import { toRatio, toSeconds } from '../av/time.ts'
import type { Send } from '../decoder/worker.ts'
import { MediaError } from '../errors.ts'
import type { SpooledBytes } from '../fetch/spool.ts'
import { durationTolerance, type VideoLimits } from '../limits.ts'
import { FrameRenderer, FrameDecoder } from './frame-decoder.ts'
import {
  audioPlacement,
  framePixels,
  planVideo,
  reportUndecodableAudio,
  type VideoPlan,
  videoTooLongError,
} from './plan.ts'

type Limits = Required<VideoLimits>

/**
 * @throws MediaError `video_invalid`, `video_too_long`, `video_too_short`, `video_audio_undecodable`,
 * `image_dimensions`
 */
export async function decodeVideo(source: SpooledBytes, limits: Limits, send: Send): Promise<void> {
  using bytes = openByteSource(source)
  const plan = planVideo(bytes, limits)
  using input = MediaInput.open(bytes, 'video', { deep: plan.deep })
  const video = input.currentStreams[plan.video]!
  const pieces: Float32Array[] = []
  using audio = openAudio(input, pieces, plan)
  using decoder = new FrameDecoder(video, limits.maxPixels)
  using renderer = new FrameRenderer(plan.orientation, framePixels(limits, plan.indices.length))
  const sampler = new FrameSampler(plan, video, renderer, send)
  const maxSamples = (limits.maxDurationSeconds + durationTolerance) * audioRate

  await input.readPacketsAsync((packet) => {
    if (packet.streamIndex === plan.audio && audio !== undefined) {
      audio.push(packet)
      if (audio.samples > maxSamples) throw videoTooLongError(limits)
      return sendPieces(pieces, send)
    }
    // An empty packet repeats the frame before it (Theora, AVI); the decoder refuses it.
    if (packet.streamIndex !== video.index || packet.size === 0) return undefined
    if (sampler.done) return audio === undefined ? false : undefined
    return decoder.push(packet, (frame) => sampler.take(frame))
  })
  if (!sampler.done) await decoder.flush((frame) => sampler.take(frame))
  finishFrames(sampler, decoder, renderer, plan)
  if (audio !== undefined) {
    audio.flush()
    if (audio.samples > maxSamples) throw videoTooLongError(limits)
    await sendPieces(pieces, send)
    checkAudio(audio, plan, limits)
  }
  const hasAudio = (audio?.samples ?? 0) > 0
  await send({ type: 'done', warnings: plan.warnings, video: { ...plan.facts, hasAudio } })
}

/** Opens the audio on the video's clock: silence if it starts later, without samples before the first frame. */
function openAudio(input: MediaInput, pieces: Float32Array[], plan: VideoPlan): AudioDecoder | undefined {
  if (plan.audio === undefined) return undefined
  const placement = audioPlacement(input, plan.audio, plan.timeline)
  if (placement.startTime === undefined)
    plan.warnings.push('the audio starts after the video ends; it is placed at the start')
  return new AudioDecoder(input.currentStreams[plan.audio]!, (piece) => pieces.push(piece), placement)
}

function checkAudio(decoder: AudioDecoder, plan: VideoPlan, limits: Limits): void {
  if (decoder.failedPackets > decoder.packets / 2) {
    reportUndecodableAudio(
      `the video's ${decoder.codecName} audio is broken: most of its packets cannot be decoded`,
      plan.warnings,
      limits,
    )
  } else if (decoder.samples === 0) plan.warnings.push('the audio ends before the video begins; it was not used')
  plan.warnings.push(...audioWarnings(decoder))
}

function finishFrames(sampler: FrameSampler, decoder: FrameDecoder, renderer: FrameRenderer, plan: VideoPlan): void {
  if (sampler.taken < 2) throw new MediaError('video_invalid', 'The video is broken: its frames cannot be decoded.')
  const missing = plan.indices.length - sampler.taken
  if (missing > 0) plan.warnings.push(`${missing} of ${plan.indices.length} frames are cut off or cannot be decoded`)
  if (decoder.failedPackets > 0)
    plan.warnings.push(`${decoder.failedPackets} video packets are broken and were skipped`)
  if (decoder.damagedFrames > 0) plan.warnings.push(`${decoder.damagedFrames} frames are damaged`)
  if (renderer.approximateColours)
    plan.warnings.push('the colour space of the video is not supported; its colours are approximate')
}

/** Selects and sends the sampled frames. Decoded frames come in presentation order. */
class FrameSampler {
  taken = 0
  readonly #plan: VideoPlan
  readonly #video: Stream
  readonly #renderer: FrameRenderer
  readonly #send: Send
  #decoded = 0

  constructor(plan: VideoPlan, video: Stream, renderer: FrameRenderer, send: Send) {
    this.#plan = plan
    this.#video = video
    this.#renderer = renderer
    this.#send = send
  }

  get done(): boolean {
    return this.taken >= this.#plan.indices.length
  }

  /** Sends the frame if it is sampled, as often as it is sampled. @returns undefined if it is not sampled */
  take(frame: Frame): Promise<void> | undefined {
    const { times, start, fps } = this.#plan.timeline
    const position = this.#decoded
    this.#decoded += 1
    const hasTimestamps = times.length > 0 && frame.bestEffortTimestamp !== AV_NOPTS_VALUE
    const time = frame.bestEffortTimestamp
    const isSampled = () => {
      const index = this.#plan.indices[this.taken]
      return index !== undefined && (hasTimestamps ? time >= times[index]! : position >= index)
    }
    if (!isSampled()) return undefined
    const rendered = this.#renderer.render(frame, toRatio(this.#video.sampleAspectRatio))
    const timestamp = hasTimestamps ? (toSeconds(time, this.#video.timeBase) ?? start) - start : position / fps
    return (async () => {
      while (isSampled()) {
        this.taken += 1
        const { data, ...size } = rendered
        // oxlint-disable-next-line no-await-in-loop -- frames are in order
        await this.#send({ type: 'frame', ...size, timestamp: Math.max(0, timestamp) }, data)
      }
    })()
  }
}
