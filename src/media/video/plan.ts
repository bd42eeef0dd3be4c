/**
 * Plans the decoding of a video file: which tracks and frames are decoded, and warnings about the others.
 *
 * In: a file. Out: the plan. Reads every packet once and decodes only a few packets as a trial.
 */
import { AV_PKT_DATA_DISPLAYMATRIX } from 'node-av/constants'
import type { Stream } from 'node-av/lib'
import { sampledFrameCount } from '../../arithmetic/frame-count.ts'
import { type Placement, hasTimestamps } from '../audio/audio-decoder.ts'
import { decodedSeconds, durationIsUnknown } from '../audio/decoded-seconds.ts'
import type { ByteSource } from '../av/bytes.ts'
import { describeTruncation, describeUnreadParts } from '../av/truncation.ts'
import { MediaInput } from '../av/input.ts'
import { type TrackChoice, chooseTrack, unknownTracks } from '../av/tracks.ts'
import type { VideoFacts } from '../decoder/messages.ts'
import { checkDimensions } from '../dimension-limits.ts'
import { MediaError } from '../errors.ts'
import { durationTolerance, type VideoLimits } from '../limits.ts'
import { orientationOf, type Orientation } from './display-matrix.ts'
import { FrameDecoder, renderedSize } from './frame-decoder.ts'
import { sampledFrameIndices } from './sample-frames.ts'
import { readTimeline, type Timeline } from './timeline.ts'

type Limits = Required<VideoLimits>

export interface VideoPlan {
  /** Whether the whole file must be probed to find its tracks. */
  readonly deep: boolean
  /** Stream index. */
  readonly video: number
  /** Stream index; undefined for a video without audio. */
  readonly audio: number | undefined
  readonly timeline: Timeline
  /** Numbers of the sampled frames, in presentation order. */
  readonly indices: readonly number[]
  readonly orientation: Orientation
  readonly facts: VideoFacts
  /** Size of rendered frames, computed from the container's header. */
  readonly frame: { readonly width: number; readonly height: number }
  /** Duration of the audio, computed from its packets, seconds; 0 without audio. */
  readonly audioSeconds: number
  readonly warnings: string[]
}

/**
 * @throws MediaError `video_invalid`, `video_too_long`, `video_too_short`, `video_audio_undecodable`,
 * `image_dimensions`
 */
export function planVideo(bytes: ByteSource, limits: Limits): VideoPlan {
  return plan(bytes, limits, false) ?? plan(bytes, limits, true)!
}

/** @returns undefined if a track begins so late that a probe of the file's first seconds does not describe it */
function plan(bytes: ByteSource, limits: Limits, deep: boolean): VideoPlan | undefined {
  using input = MediaInput.open(bytes, 'video', { deep })
  const choice = chooseTrack(input, bytes, 'video', limits.maxPixels)
  const video = choice.stream
  if (!deep && (video === undefined ? choice.unreadable.length === 0 : video.codecpar.width <= 0)) return undefined
  if (video === undefined) throw noVideoError(choice)
  const orientation = orientationOf(video.codecpar.getCodedSideData(AV_PKT_DATA_DISPLAYMATRIX))
  const { width, height } = checkSize(video, orientation, limits)

  const packets = new Map<number, number>()
  const timeline = readTimeline(input, video, limits.maxDurationSeconds + durationTolerance, packets)
  if (timeline === undefined) throw videoTooLongError(limits)
  const packetsOf = (stream: number) => packets.get(stream) ?? 0
  const audio = chooseTrack(input, bytes, 'audio', limits.maxPixels)
  if (!deep && beginsLate(audio, input, packetsOf)) return undefined

  const { frameCount, fps, durationSeconds } = timeline
  if (frameCount === 0) throw new MediaError('video_invalid', 'The video has no frames.')
  const count = sampledFrameCount(frameCount, fps, limits)
  if (count === undefined || durationSeconds < limits.minDurationSeconds - durationTolerance) {
    const least = limits.minDurationSeconds > 0 ? `${limits.minDurationSeconds} s` : 'half a second and two frames'
    throw new MediaError(
      'video_too_short',
      `The video has ${frameCount} ${frameCount === 1 ? 'frame' : 'frames'} in ${durationSeconds.toFixed(2)} s; it needs at least ${least}.`,
    )
  }
  const facts: VideoFacts = {
    durationSeconds,
    width,
    height,
    sourceFrameCount: frameCount,
    sourceFps: fps,
    sampledFps: (count / frameCount) * fps,
    hasAudio: false,
    codec: FrameDecoder.codecName(video),
  }
  const indices = sampledFrameIndices(frameCount, count)
  const warnings: string[] = []
  if (choice.unreadable.length > 0) warnings.push(`${choice.unreadable.join(', ')} cannot be decoded and was skipped`)
  const audioTrack = planAudio(audio, input, packetsOf, limits, warnings)
  warnings.push(...damageWarnings(input, bytes, video, audioTrack, durationSeconds))
  return {
    deep,
    video: video.index,
    audio: audioTrack,
    timeline,
    indices,
    orientation,
    facts,
    frame: renderedSize(video, orientation, framePixels(limits, indices.length)),
    audioSeconds: audioTrack === undefined ? 0 : audioDuration(input, bytes, audioTrack, timeline, deep, limits),
    warnings,
  }
}

function noVideoError({ unreadable }: TrackChoice): MediaError {
  if (unreadable.length === 0) {
    return new MediaError('video_invalid', 'The file has no video track. Send audio as `input_audio`.')
  }
  return new MediaError('video_invalid', `The file's video cannot be decoded: ${unreadable.join(', ')}. Send H.264.`)
}

/** Whether an audio track has packets but was not fully described when the file was opened. */
function beginsLate({ stream }: TrackChoice, input: MediaInput, packetsOf: (stream: number) => number): boolean {
  if (stream === undefined || packetsOf(stream.index) === 0) return false
  return stream.index >= input.streams.length || stream.codecpar.sampleRate <= 0
}

/** Stream index of the audio to decode, or undefined. A track that cannot be decoded is an error or a warning. */
function planAudio(
  { stream, unreadable }: TrackChoice,
  input: MediaInput,
  packetsOf: (stream: number) => number,
  limits: Limits,
  warnings: string[],
): number | undefined {
  if (stream === undefined) {
    if (unreadable.length > 0)
      reportUndecodableAudio(`the video's audio cannot be decoded: ${unreadable.join(', ')}`, warnings, limits)
    const unknown = unknownTracks(input, packetsOf)
    if (unknown.length > 0) warnings.push(`${unknown.join(', ')} has an unknown type and was skipped`)
    return undefined
  }
  if (unreadable.length > 0) warnings.push(`${unreadable.join(', ')} cannot be decoded and was skipped`)
  if (packetsOf(stream.index) > 0) return stream.index
  warnings.push('the audio track is empty')
  return undefined
}

/** Throws or adds a warning, as the limits say. @throws MediaError `video_audio_undecodable` */
export function reportUndecodableAudio(reason: string, warnings: string[], limits: Limits, cause?: unknown): void {
  if (limits.undecodableAudio === 'warn') {
    warnings.push(reason)
    return
  }
  const fix = 'Send it with audio as AAC, MP3, Opus or PCM, or without an audio track.'
  throw new MediaError('video_audio_undecodable', `${reason[0]!.toUpperCase()}${reason.slice(1)}. ${fix}`, { cause })
}

/** Checks the stored size before a decoder is opened. @returns the size with rotation applied */
function checkSize(video: Stream, orientation: Orientation, limits: Limits) {
  const { width, height } = video.codecpar
  if (width <= 0 || height <= 0)
    throw new MediaError('video_invalid', 'The video is broken: its header has no frame size.')
  checkDimensions({ width, height }, limits, "The video's frames are")
  return orientation.quarterTurns % 2 === 1 ? { width: height, height: width } : { width, height }
}

function damageWarnings(
  input: MediaInput,
  bytes: ByteSource,
  video: Stream,
  audio: number | undefined,
  durationSeconds: number,
): string[] {
  const truncation = describeTruncation(input, bytes, video.index, durationSeconds)
  if (truncation !== undefined) return [`the video is cut off: ${truncation}`]
  const audioTruncation = audio === undefined ? undefined : describeTruncation(input, bytes, audio, 0)
  if (audioTruncation !== undefined) return [`the video's audio is cut off: ${audioTruncation}`]
  return describeUnreadParts(input, bytes)
}

/** Places audio on the video's clock. Audio that starts after the video's end is placed at the start. */
export function audioPlacement(input: MediaInput, audio: number, timeline: Timeline): Placement {
  const { start, durationSeconds, audioStart } = timeline
  const afterEnd = audioStart(audio) > start + durationSeconds
  return { startTime: afterEnd ? undefined : start, useTimestamps: hasTimestamps(input) }
}

/** Duration of the audio as decoding places it, seconds. */
function audioDuration(
  readInput: MediaInput,
  bytes: ByteSource,
  audio: number,
  timeline: Timeline,
  deep: boolean,
  limits: Limits,
): number {
  const placement = audioPlacement(readInput, audio, timeline)
  if (durationIsUnknown(readInput, audio)) {
    using input = MediaInput.open(bytes, 'video', { deep })
    return decodedSeconds(input, input.streams[audio]!, placement, limits.maxDurationSeconds + durationTolerance)
  }
  const end = readInput.extents.get(audio)?.end
  if (end === undefined || !Number.isFinite(end)) return timeline.durationSeconds
  return Math.max(0, end - (placement.startTime ?? timeline.audioStart(audio)))
}

/** Most pixels of one frame, so that all frames together stay within the limit. */
export function framePixels(limits: Limits, frames: number): number {
  return Math.min(limits.maxFramePixels, Math.floor(limits.maxTotalPixels / frames))
}

export function videoTooLongError(limits: Limits): MediaError {
  return new MediaError('video_too_long', `The video is longer than ${limits.maxDurationSeconds} s, the model's limit.`)
}
