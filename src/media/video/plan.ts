/**
 * The plan for a video file: which tracks, which frames, and warnings about the rest.
 *
 * In: a file. Out: a plan for decoding it. Reads every packet once and decodes only a few trial frames.
 */
import { AV_PKT_DATA_DISPLAYMATRIX } from 'node-av/constants'
import type { Stream } from 'node-av/lib'
import { sampledFrameCount } from '../../arithmetic/frame-count.ts'
import { type Placement, timesAreKept } from '../audio/audio-decoder.ts'
import { decodedSeconds, lengthIsOpen } from '../audio/decoded-seconds.ts'
import type { ByteSource } from '../av/bytes.ts'
import { cutOff, leftOut } from '../av/cut-off.ts'
import { MediaInput } from '../av/input.ts'
import { type Choice, chooseTrack, unknownTracks } from '../av/tracks.ts'
import type { VideoFacts } from '../decoder/messages.ts'
import { MediaError } from '../errors.ts'
import { durationTolerance, type VideoLimits } from '../limits.ts'
import { orientationOf, type Orientation } from './display-matrix.ts'
import { FrameDecoder, renderedSize } from './frame-decoder.ts'
import { sampledFrameIndices } from './sample-frames.ts'
import { readTimeline, type Timeline } from './timeline.ts'

type Limits = Required<VideoLimits>

export interface VideoPlan {
  /** Whether probing had to read the whole file. */
  readonly deep: boolean
  /** Index of the stream. */
  readonly video: number
  /** Index of the stream, undefined for a silent video. */
  readonly audio: number | undefined
  readonly timeline: Timeline
  readonly indices: readonly number[]
  readonly orientation: Orientation
  readonly facts: VideoFacts
  /** Of rendered frames, by the container's header. */
  readonly frame: { readonly width: number; readonly height: number }
  /** Duration of the audio by its packets, seconds; 0 without any. */
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

/** Undefined when a track begins so late that a shallow probe lacks its parameters. */
function plan(bytes: ByteSource, limits: Limits, deep: boolean): VideoPlan | undefined {
  using input = MediaInput.open(bytes, 'video', { deep })
  const choice = chooseTrack(input, bytes, 'video', limits.maxPixels)
  const video = choice.stream
  if (!deep && (video === undefined ? choice.unreadable.length === 0 : video.codecpar.width <= 0)) return undefined
  if (video === undefined) throw noVideo(choice)
  const orientation = orientationOf(video.codecpar.getCodedSideData(AV_PKT_DATA_DISPLAYMATRIX))
  const { width, height } = checkSize(video, orientation, limits)

  const packets = new Map<number, number>()
  const timeline = readTimeline(input, video, limits.maxDurationSeconds + durationTolerance, packets)
  if (timeline === undefined) throw videoTooLong(limits)
  const packetsOf = (stream: number) => packets.get(stream) ?? 0
  const audio = chooseTrack(input, bytes, 'audio', limits.maxPixels)
  if (!deep && isLate(audio, input, packetsOf)) return undefined

  const { frameCount, fps, durationSeconds } = timeline
  if (frameCount === 0) throw new MediaError('video_invalid', 'The video has no frames.')
  const count = sampledFrameCount(frameCount, fps, limits)
  if (count === undefined || durationSeconds < limits.minDurationSeconds - durationTolerance) {
    const least = limits.minDurationSeconds > 0 ? `${limits.minDurationSeconds} s` : 'half a second and two frames'
    throw new MediaError(
      'video_too_short',
      `The video has ${frameCount} frames in ${durationSeconds.toFixed(2)} s; it needs at least ${least}.`,
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
  if (choice.unreadable.length > 0)
    warnings.push(`${choice.unreadable.join(', ')} cannot be decoded and was passed over`)
  const audioTrack = planAudio(audio, input, packetsOf, limits, warnings)
  warnings.push(...damage(input, bytes, video, audioTrack, durationSeconds))
  return {
    deep,
    video: video.index,
    audio: audioTrack,
    timeline,
    indices,
    orientation,
    facts,
    frame: renderedSize(video, orientation, framePixels(limits, indices.length)),
    audioSeconds: audioTrack === undefined ? 0 : audioLength(input, bytes, audioTrack, timeline, deep, limits),
    warnings,
  }
}

function noVideo({ unreadable }: Choice): MediaError {
  if (unreadable.length === 0) {
    return new MediaError('video_invalid', 'The file has no video track. Send audio as `input_audio`.')
  }
  return new MediaError('video_invalid', `The file's video cannot be decoded: ${unreadable.join(', ')}. Send H.264.`)
}

/** An audio track with packets that was not fully known when the file was opened. */
function isLate({ stream }: Choice, input: MediaInput, packetsOf: (stream: number) => number): boolean {
  if (stream === undefined || packetsOf(stream.index) === 0) return false
  return stream.index >= input.streams.length || stream.codecpar.sampleRate <= 0
}

/** The audio track to decode, or undefined; an unreadable one is refused or reported. */
function planAudio(
  { stream, unreadable }: Choice,
  input: MediaInput,
  packetsOf: (stream: number) => number,
  limits: Limits,
  warnings: string[],
): number | undefined {
  if (stream === undefined) {
    if (unreadable.length > 0)
      undecodable(`the video's audio cannot be decoded: ${unreadable.join(', ')}`, warnings, limits)
    const unknown = unknownTracks(input, packetsOf)
    if (unknown.length > 0) warnings.push(`${unknown.join(', ')} is of no known kind and was passed over`)
    return undefined
  }
  if (unreadable.length > 0) warnings.push(`${unreadable.join(', ')} cannot be decoded and was passed over`)
  if (packetsOf(stream.index) > 0) return stream.index
  warnings.push('the audio track is empty')
  return undefined
}

/** A video that would be silent by mistake: refused, or reported. */
export function undecodable(reason: string, warnings: string[], limits: Limits, cause?: unknown): void {
  if (limits.undecodableAudio === 'warn') {
    warnings.push(reason)
    return
  }
  const fix = 'Send it with audio as AAC, MP3, Opus or PCM, or without an audio track.'
  throw new MediaError('video_audio_undecodable', `${reason[0]!.toUpperCase()}${reason.slice(1)}. ${fix}`, { cause })
}

/** Refuses by header, before a decoder is opened. Returns the stored size with rotation applied. */
function checkSize(video: Stream, orientation: Orientation, limits: Limits) {
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

function damage(
  input: MediaInput,
  bytes: ByteSource,
  video: Stream,
  audio: number | undefined,
  durationSeconds: number,
): string[] {
  const cut = cutOff(input, bytes, video.index, durationSeconds)
  if (cut !== undefined) return [`the video is cut off: ${cut}`]
  const audioCut = audio === undefined ? undefined : cutOff(input, bytes, audio, 0)
  if (audioCut !== undefined) return [`the video's audio is cut off: ${audioCut}`]
  return leftOut(input, bytes)
}

/** On the video's clock; audio that starts after the video ends is placed at the start. */
export function audioPlacement(input: MediaInput, audio: number, timeline: Timeline): Placement {
  const { start, durationSeconds, audioStart } = timeline
  const afterEnd = audioStart(audio) > start + durationSeconds
  return { zero: afterEnd ? undefined : start, byTime: timesAreKept(input) }
}

/** As decoding places it. */
function audioLength(
  read: MediaInput,
  bytes: ByteSource,
  audio: number,
  timeline: Timeline,
  deep: boolean,
  limits: Limits,
): number {
  const placement = audioPlacement(read, audio, timeline)
  if (lengthIsOpen(read, audio)) {
    using input = MediaInput.open(bytes, 'video', { deep })
    return decodedSeconds(input, input.streams[audio]!, placement, limits.maxDurationSeconds + durationTolerance)
  }
  const end = read.extents.get(audio)?.end
  if (end === undefined || !Number.isFinite(end)) return timeline.durationSeconds
  return Math.max(0, end - (placement.zero ?? timeline.audioStart(audio)))
}

/** Pixels of a frame, so that all together stay within the limit. */
export function framePixels(limits: Limits, frames: number): number {
  return Math.min(limits.maxFramePixels, Math.floor(limits.maxTotalPixels / frames))
}

export function videoTooLong(limits: Limits): MediaError {
  return new MediaError(
    'video_too_long',
    `The video is longer than the ${limits.maxDurationSeconds} s the model takes.`,
  )
}
