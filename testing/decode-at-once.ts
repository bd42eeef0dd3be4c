/** A media loader that decodes what it opens and deletes the files, for tests of decoding. */

import type { AudioMedium, ImageMedium, MonoPcm, RgbImage, VideoFrames, VideoMedium } from '../src/contract/index.ts'
import { createMediaLoader, type MediaLoader, type MediaLoaderOptions, type Opened } from '../src/media/index.ts'

type Arguments<K extends keyof MediaLoader> = Parameters<MediaLoader[K]>

export interface DecodingLoader extends AsyncDisposable {
  image(...given: Arguments<'image'>): Promise<RgbImage & { sourceWidth: number; sourceHeight: number }>
  audio(...given: Arguments<'audio'>): Promise<{ pcm: MonoPcm; durationSeconds: number; warnings: readonly string[] }>
  video(...given: Arguments<'video'>): Promise<DecodedVideo>
  frames(...given: Arguments<'frames'>): Promise<VideoFrames>
  status: MediaLoader['status']
}

interface DecodedVideo {
  readonly video: VideoFrames
  /** As stored. */
  readonly width: number
  readonly height: number
  readonly durationSeconds: number
  readonly audioSeconds: number
  readonly hasAudio: boolean
  readonly sourceFps: number
  readonly sourceFrameCount: number
  /** Frames delivered. */
  readonly frameCount: number
  readonly warnings: readonly string[]
}

export function createDecodingLoader(options: MediaLoaderOptions = {}): DecodingLoader {
  const loader = createMediaLoader(options)
  return {
    image: (...given) =>
      opened(loader.image(...given), given[2], (medium: Opened<ImageMedium>, image: RgbImage) => ({
        ...image,
        sourceWidth: medium.facts.sourceWidth,
        sourceHeight: medium.facts.sourceHeight,
      })),
    audio: (...given) =>
      opened(loader.audio(...given), given[2], (medium: Opened<AudioMedium>, pcm: MonoPcm) => ({
        pcm,
        durationSeconds: medium.facts.samples / medium.facts.sampleRate,
        warnings: medium.warnings,
      })),
    video: (...given) =>
      opened(loader.video(...given), given[2], (medium: Opened<VideoMedium>, video: VideoFrames) => {
        const { sourceWidth, sourceHeight, seconds, source, audio } = medium.facts
        return {
          video,
          width: sourceWidth,
          height: sourceHeight,
          durationSeconds: seconds,
          audioSeconds: audio ? audio.samples / audio.sampleRate : 0,
          hasAudio: audio !== undefined,
          sourceFps: source!.fps,
          sourceFrameCount: source!.frames,
          frameCount: video.frames.length,
          warnings: medium.warnings,
        }
      }),
    frames: (...given) => opened(loader.frames(...given), given[2], (_medium, video: VideoFrames) => video),
    status: () => loader.status(),
    [Symbol.asyncDispose]: () => loader[Symbol.asyncDispose](),
  }
}

async function opened<D, M extends AsyncDisposable & { decode(signal?: AbortSignal): Promise<D> }, R>(
  opening: Promise<M>,
  signal: AbortSignal | undefined,
  result: (medium: M, decoded: D) => R,
): Promise<R> {
  await using medium = await opening
  return result(medium, await medium.decode(signal))
}
