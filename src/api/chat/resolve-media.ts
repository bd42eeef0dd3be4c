/**
 * Fetches and decodes what a plan refers to, within the API model's limits.
 *
 * In: a {@link Plan}'s messages. Out: the messages as the engine takes them, and as they are counted. A few parts are
 * fetched at a time; the first failure stops the others, and so does the token that is one too many: what was decoded is
 * held until the engine has it, and tokens bound how much that can be.
 */
import {
  type CountedMedia,
  type CountedMessage,
  type CountedPart,
  mediaTokens,
  VideoShapeError,
} from '../../accounting/index.ts'
import type { MediaLimits as CatalogueLimits, TokenRules } from '../../catalogue/index.ts'
import type { GenerationMessage, GenerationPart } from '../../contract/index.ts'
import { defaultImageLimits, type LoadedVideo, type MediaLoader } from '../../media/index.ts'
import { errors } from '../../protocol/index.ts'
import type { MediaRef, PlanMessage } from './check-rules.ts'
import { mediaErrorToApi } from './media-errors.ts'

/** The part of the media room that is used here. */
export type MediaPort = Pick<MediaLoader, 'image' | 'audio' | 'video' | 'frames'>

export interface ResolvedMessages {
  readonly generation: readonly GenerationMessage[]
  readonly counted: readonly CountedMessage[]
  readonly warnings: readonly string[]
}

interface PlacedPart {
  readonly generation: GenerationPart
  readonly counted: CountedPart
  readonly warnings?: readonly string[]
}

interface ResolvedPart extends PlacedPart {
  readonly counted: CountedMedia
}

export interface ResolveLimits {
  readonly media: CatalogueLimits
  readonly tokens: TokenRules
  /** Tokens that all media together may take. */
  readonly maxInput: number
}

const PARTS_AT_ONCE = 4

/** Pixels of all pictures of a request together, three bytes each. */
const PIXELS_TOGETHER = 64 * 1024 * 1024

/** Pixels a picture is handed on with: fewer when there are many, but never fewer than are paid for. */
function pixelsEach(pictures: number, { factor, imageMaxTokens }: TokenRules): number {
  const share = Math.max(imageMaxTokens * factor * factor, Math.floor(PIXELS_TOGETHER / Math.max(1, pictures)))
  return Math.min(share, defaultImageLimits.maxOutputPixels)
}

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
  const pictures = jobs.filter(({ ref }) => ref.type === 'image').length
  const maxOutputPixels = pixelsEach(pictures, limits.tokens)
  const resolved = new Map<string, ResolvedPart>()
  let tokens = 0
  if (jobs.length > 0) {
    const failure = new AbortController()
    const both = AbortSignal.any([signal, failure.signal])
    const queue = jobs.values()
    const worker = async (): Promise<void> => {
      for (const { at, ref } of queue) {
        both.throwIfAborted()
        const part = await resolvePart(ref, limits, maxOutputPixels, media, both)
        tokens += tokensOf(part, ref, limits.tokens)
        if (tokens > limits.maxInput) throw errors.inputLength(limits.maxInput)
        resolved.set(at.join('.'), part)
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
    message.parts.map((part, p): PlacedPart => {
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

function tokensOf({ counted }: ResolvedPart, ref: MediaRef, rules: TokenRules): number {
  try {
    const { image, audio, video } = mediaTokens(counted, rules)
    return image + audio + video
  } catch (error) {
    if (error instanceof VideoShapeError) throw errors.videoInvalid(ref.param, error.message)
    throw error
  }
}

async function resolvePart(
  ref: MediaRef,
  limits: ResolveLimits,
  maxOutputPixels: number,
  media: MediaPort,
  signal: AbortSignal,
): Promise<ResolvedPart> {
  const sampling = limits.tokens.video
  const { image, audio, video, maxDataUriBytes: dataUriMaxBytes } = limits.media
  try {
    switch (ref.type) {
      case 'image': {
        const picture = await media.image(
          ref.source,
          {
            maxBytes: image.maxBytes,
            dataUriMaxBytes,
            minSide: image.minSideOver,
            maxAspect: image.maxAspectRatio,
            maxOutputPixels,
          },
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
            minFrames: sampling.minFrames,
            maxFrames: sampling.maxFrames,
            fps: ref.fps ?? sampling.fps,
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
            fps: ref.fps ?? sampling.fps,
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
