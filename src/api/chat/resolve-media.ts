/**
 * Fetches and decodes what a plan refers to, within the API model's limits.
 *
 * In: a {@link Plan}'s messages. Out: the messages as the engine takes them, and as they are counted. A few parts are
 * fetched at a time; the first failure stops the others.
 */
import type { CountedMessage, CountedPart } from '../../accounting/index.ts'
import type { MediaLimits as CatalogueLimits } from '../../catalogue/index.ts'
import type { GenerationMessage, GenerationPart } from '../../engines/engine.ts'
import type { LoadedVideo, MediaLoader } from '../../media/index.ts'
import type { MediaRef, PlanMessage } from './check-rules.ts'
import { mediaErrorToApi } from './media-errors.ts'

/** The part of the media room that is used here. */
export type MediaPort = Pick<MediaLoader, 'image' | 'audio' | 'video' | 'frames'>

export interface ResolvedMessages {
  readonly generation: readonly GenerationMessage[]
  readonly counted: readonly CountedMessage[]
  readonly warnings: readonly string[]
}

interface ResolvedPart {
  readonly generation: GenerationPart
  readonly counted: CountedPart
  readonly warnings?: readonly string[]
}

export interface ResolveLimits {
  readonly media: CatalogueLimits
  /** Most frames sampled from a clip's file, and the fewest. */
  readonly sampledFrames: { readonly min: number; readonly max: number; readonly fps: number }
}

const PARTS_AT_ONCE = 4

/** Frames of a file and how fast they go; where a container says neither, what its length makes likely. */
function frameRate(clip: LoadedVideo): { readonly totalFrames: number; readonly framesPerSecond: number } {
  if (clip.sourceFps > 0 && clip.sourceFrameCount > 0) {
    return { totalFrames: clip.sourceFrameCount, framesPerSecond: clip.sourceFps }
  }
  const framesPerSecond = 30
  return { totalFrames: Math.max(2, Math.round(clip.durationSeconds * framesPerSecond)), framesPerSecond }
}

/** @throws ApiError for the first part that cannot be had; the signal's reason once aborted. */
export async function resolveMedia(
  messages: readonly PlanMessage[],
  limits: ResolveLimits,
  media: MediaPort,
  signal: AbortSignal,
): Promise<ResolvedMessages> {
  const jobs: { readonly at: readonly [number, number]; readonly ref: MediaRef }[] = []
  messages.forEach((message, m) =>
    message.parts.forEach((part, p) => {
      if (part.type !== 'text') jobs.push({ at: [m, p], ref: part })
    }),
  )
  const resolved = new Map<string, ResolvedPart>()
  if (jobs.length > 0) {
    const failure = new AbortController()
    const both = AbortSignal.any([signal, failure.signal])
    const queue = jobs.values()
    const worker = async (): Promise<void> => {
      for (const { at, ref } of queue) {
        both.throwIfAborted()
        resolved.set(at.join('.'), await resolvePart(ref, limits, media, both))
      }
    }
    const workers = Array.from({ length: Math.min(PARTS_AT_ONCE, jobs.length) }, worker)
    try {
      await Promise.all(workers)
    } catch (error) {
      failure.abort(error)
      await Promise.allSettled(workers)
      signal.throwIfAborted()
      throw error
    }
  }
  const parts = messages.map((message, m) =>
    message.parts.map((part, p): ResolvedPart => {
      if (part.type === 'text') return { generation: part, counted: part }
      const found = resolved.get(`${m}.${p}`)
      if (found === undefined) throw new Error('a part was not resolved')
      return found
    }),
  )
  return {
    generation: messages.map(({ role }, m) => ({ role, content: (parts[m] ?? []).map((part) => part.generation) })),
    counted: messages.map(({ role }, m) => ({ role, parts: (parts[m] ?? []).map((part) => part.counted) })),
    warnings: parts.flat().flatMap((part) => part.warnings ?? []),
  }
}

async function resolvePart(
  ref: MediaRef,
  limits: ResolveLimits,
  media: MediaPort,
  signal: AbortSignal,
): Promise<ResolvedPart> {
  const { image, audio, video, maxDataUriBytes: dataUriMaxBytes } = limits.media
  try {
    switch (ref.type) {
      case 'image': {
        const picture = await media.image(
          ref.source,
          { maxBytes: image.maxBytes, dataUriMaxBytes, minSide: image.minSideOver, maxAspect: image.maxAspectRatio },
          signal,
        )
        return {
          generation: { type: 'image', image: picture },
          counted: { type: 'image', width: picture.sourceWidth, height: picture.sourceHeight },
        }
      }
      case 'audio': {
        const sound = await media.audio(
          ref.source,
          { maxBytes: audio.maxBytes, dataUriMaxBytes, maxDurationSeconds: audio.maxSeconds },
          signal,
        )
        return {
          generation: { type: 'audio', audio: sound.pcm },
          counted: { type: 'audio', seconds: sound.durationSeconds },
          warnings: sound.warnings.map((warning) => `${ref.param}: ${warning}`),
        }
      }
      case 'video': {
        const clip = await media.video(
          ref.source,
          {
            maxBytes: video.maxBytes,
            dataUriMaxBytes,
            minSide: image.minSideOver,
            maxAspect: image.maxAspectRatio,
            maxDurationSeconds: video.maxSeconds,
            minDurationSeconds: video.minSeconds,
            minFrames: limits.sampledFrames.min,
            maxFrames: limits.sampledFrames.max,
            fps: ref.fps ?? limits.sampledFrames.fps,
          },
          signal,
        )
        return {
          generation: { type: 'video', video: clip.video },
          counted: {
            type: 'video',
            width: clip.width,
            height: clip.height,
            ...frameRate(clip),
            audioSeconds: clip.audioSeconds,
          },
          warnings: clip.warnings.map((warning) => `${ref.param}: ${warning}`),
        }
      }
      case 'frames': {
        const frames = await media.frames(
          ref.sources,
          {
            maxBytes: image.maxBytes,
            dataUriMaxBytes,
            minSide: image.minSideOver,
            maxAspect: image.maxAspectRatio,
            minFrames: video.minFrames,
            maxFrames: video.maxFrames,
            fps: ref.fps ?? limits.sampledFrames.fps,
          },
          signal,
        )
        const first = frames.frames[0]
        if (first === undefined) throw new Error('a frame list without frames was let through')
        return {
          generation: { type: 'video', video: frames },
          counted: { type: 'frames', width: first.width, height: first.height, count: frames.frames.length },
        }
      }
      default:
        return ref satisfies never
    }
  } catch (error) {
    signal.throwIfAborted()
    throw mediaErrorToApi(error, ref, limits.media)
  }
}
