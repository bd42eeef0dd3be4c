/**
 * Fetches a plan's media, within the API model's limits.
 *
 * In: a {@link Plan}'s messages. Out: the messages as the engine takes them, with undecoded media, and as they are
 * counted. A few parts are fetched at a time; the first failure stops the others, and so does the token that exceeds
 * the limit.
 */
import {
  type CountedMedia,
  type CountedMessage,
  type CountedPart,
  mediaTokens,
  VideoShapeError,
} from '../../accounting/index.ts'
import type { MediaLimits as CatalogueLimits, TokenRules } from '../../catalogue/index.ts'
import type { AnyMedium, AudioFacts, GenerationMessage, GenerationPart, VideoFacts } from '../../contract/index.ts'
import { defaultImageLimits, type MediaLoader, type Opened } from '../../media/index.ts'
import { errors } from '../../protocol/index.ts'
import type { MediaRef, PlanMessage } from './check-rules.ts'
import { mediaErrorToApi } from './media-errors.ts'

/** The part of the media loader that is used here. */
export type MediaPort = Pick<MediaLoader, 'image' | 'audio' | 'video' | 'frames'>

export interface ResolvedMessages {
  readonly generation: readonly GenerationMessage[]
  /** As billed, from the media's facts so far: more exact once they have been decoded. */
  counted(): readonly CountedMessage[]
  /** Warnings about the media, as far as known. */
  warnings(): readonly string[]
  /** The files, closed when the request is over. */
  readonly media: readonly AsyncDisposable[]
}

interface ResolvedPart {
  readonly generation: GenerationPart
  counted(): CountedMedia
  warnings(): readonly string[]
  readonly medium: AsyncDisposable
}

export interface ResolveLimits {
  readonly media: CatalogueLimits
  readonly tokens: TokenRules
  /** Most tokens of all media together. */
  readonly maxInput: number
}

const PARTS_AT_ONCE = 4

/** Pixels of all images of a request together, three bytes each. */
const PIXELS_TOGETHER = 64 * 1024 * 1024

/** Pixels of an image: fewer when there are many, but never fewer than are billed. */
function pixelsEach(images: number, { factor, imageMaxTokens }: TokenRules): number {
  const share = Math.max(imageMaxTokens * factor * factor, Math.floor(PIXELS_TOGETHER / Math.max(1, images)))
  return Math.min(share, defaultImageLimits.maxOutputPixels)
}

/** Frames of a file and their rate; where a container has neither, estimated from its duration. */
function frameRate({ source, seconds }: VideoFacts): {
  readonly totalFrames: number
  readonly framesPerSecond: number
} {
  if (source && source.fps > 0 && source.frames > 0) return { totalFrames: source.frames, framesPerSecond: source.fps }
  const framesPerSecond = 30
  return { totalFrames: Math.max(2, Math.round(seconds * framesPerSecond)), framesPerSecond }
}

/** @throws ApiError for the first part that fails; the signal's reason once aborted. */
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
  const images = jobs.filter(({ ref }) => ref.type === 'image').length
  const maxOutputPixels = pixelsEach(images, limits.tokens)
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
        if (tokens > limits.maxInput)
          throw errors.inputLength(limits.maxInput, { hint: `The request has at least ${tokens} tokens.` })
        resolved.set(at.join('.'), part)
      }
    }
    const workers = Array.from({ length: Math.min(PARTS_AT_ONCE, jobs.length) }, worker)
    try {
      await Promise.all(workers)
    } catch (error) {
      failure.abort(error)
      await Promise.allSettled(workers)
      await Promise.allSettled([...resolved.values()].map(({ medium }) => medium[Symbol.asyncDispose]()))
      signal.throwIfAborted()
      throw error
    }
  }
  const placed = messages.map((message, m) =>
    message.parts.map((part, p) => {
      if (part.type === 'text') return part
      const found = resolved.get(`${m}.${p}`)
      if (found === undefined) throw new Error('a part was not resolved')
      return found
    }),
  )
  const parts = [...resolved.values()]
  return {
    generation: messages.map((message, m) =>
      generationMessage(
        message,
        placed[m]!.map((part) => ('type' in part ? part : part.generation)),
      ),
    ),
    counted: () =>
      messages.map(({ role, toolCalls }, m) => ({
        role,
        parts: [
          ...placed[m]!.map((part): CountedPart => ('type' in part ? part : part.counted())),
          ...(toolCalls ?? []).map((call): CountedPart => ({
            type: 'text',
            text: `{"name": "${call.name}", "arguments": ${call.arguments}}`,
          })),
        ],
      })),
    warnings: () => parts.flatMap((part) => part.warnings()),
    media: parts.map(({ medium }) => medium),
  }
}

function generationMessage(
  { role, toolCalls, toolCallId }: PlanMessage,
  content: readonly GenerationPart[],
): GenerationMessage {
  switch (role) {
    case 'system':
    case 'user':
      return { role, content }
    case 'assistant':
      return { role, content, ...(toolCalls && { toolCalls }) }
    case 'tool':
      return {
        role,
        toolCallId: toolCallId ?? '',
        content: content.flatMap((part) => (part.type === 'text' ? [part] : [])),
      }
    default:
      return role satisfies never
  }
}

function tokensOf(part: ResolvedPart, ref: MediaRef, rules: TokenRules): number {
  try {
    const { image, audio, video } = mediaTokens(part.counted(), rules)
    return image + audio + video
  } catch (error) {
    if (error instanceof VideoShapeError) throw errors.videoInvalid(ref.param, error.message)
    throw error
  }
}

/** The medium as the engine gets it: an invalid one fails with the wire's text. */
function placeMedium<M extends AnyMedium>(
  medium: Opened<M>,
  ref: MediaRef,
  limits: CatalogueLimits,
): { readonly engine: M; warnings(): readonly string[]; readonly medium: AsyncDisposable } {
  const decode = async (signal?: AbortSignal): Promise<unknown> => {
    try {
      return await medium.decode(signal)
    } catch (error) {
      signal?.throwIfAborted()
      throw mediaErrorToApi(error, ref, limits)
    }
  }
  return {
    // Facts may change after decoding, so they are read on demand. The cast is safe: all values belong to one kind.
    engine: {
      kind: medium.kind,
      files: medium.files,
      contentKey: medium.contentKey,
      get facts() {
        return medium.facts
      },
      get exact() {
        return medium.exact
      },
      decode,
      release: () => medium.release(),
    } as unknown as M,
    warnings: () => medium.warnings.map((warning) => `${ref.param}: ${warning}`),
    medium,
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
        const opened = await media.image(
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
        const { engine, ...placed } = placeMedium(opened, ref, limits.media)
        return {
          ...placed,
          generation: { type: 'image', image: engine },
          counted: () => ({ type: 'image', width: opened.facts.sourceWidth, height: opened.facts.sourceHeight }),
        }
      }
      case 'audio': {
        const opened = await media.audio(
          ref.source,
          { maxBytes: audio.maxBytes, dataUriMaxBytes, maxDurationSeconds: audio.maxSeconds },
          signal,
        )
        const { engine, ...placed } = placeMedium(opened, ref, limits.media)
        return {
          ...placed,
          generation: { type: 'audio', audio: engine },
          counted: () => ({ type: 'audio', seconds: secondsOf(opened.facts) }),
        }
      }
      case 'video': {
        const opened = await media.video(
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
        const { engine, ...placed } = placeMedium(opened, ref, limits.media)
        return {
          ...placed,
          generation: { type: 'video', video: engine },
          counted: () => ({
            type: 'video',
            width: opened.facts.sourceWidth,
            height: opened.facts.sourceHeight,
            ...frameRate(opened.facts),
            audioSeconds: opened.facts.audio ? secondsOf(opened.facts.audio) : 0,
          }),
        }
      }
      case 'frames': {
        const opened = await media.frames(
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
        const { width, height, frames } = opened.facts
        const { engine, ...placed } = placeMedium(opened, ref, limits.media)
        return {
          ...placed,
          generation: { type: 'video', video: engine },
          counted: () => ({ type: 'frames', width, height, count: frames }),
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

function secondsOf({ samples, sampleRate }: AudioFacts): number {
  return samples / sampleRate
}
