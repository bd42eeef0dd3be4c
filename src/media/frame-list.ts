/**
 * A video given as a list of images.
 *
 * In: sources and a way to open one. Out: one medium. A few images are opened or decoded at a time, so that a long list
 * leaves decoders for others; the first failure ends the rest and names its index.
 */

import { createHash } from 'node:crypto'
import type { RgbImage, VideoFacts, VideoMedium } from '../contract/index.ts'
import { abortedError, MediaError, withOrigin } from './errors.ts'
import { unifySizes } from './image/unify.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { openedMedium, type OpenedImage, type OpenedVideo } from './opened-medium.ts'

const atOnce = 2

/** Opens every image. @throws MediaError with `index` */
export async function openFrames(
  sources: readonly string[],
  open: (source: string, signal: AbortSignal) => Promise<OpenedImage>,
  signal: AbortSignal | undefined,
): Promise<OpenedImage[]> {
  const opened: (OpenedImage | undefined)[] = []
  try {
    return await each(sources, signal, async (source, index, stop) => {
      const image = await open(source, stop)
      opened[index] = image
      return image
    })
  } catch (error) {
    for (const image of opened) await image?.[Symbol.asyncDispose]()
    throw error
  }
}

/**
 * The images, whose own decoding counts towards no budget, as one video. Frames of another size are scaled to the first
 * one's. @param fps the rate the list stands for.
 */
export function frameList(images: readonly OpenedImage[], fps: number, budget: MemoryBudget): OpenedVideo {
  const { width, height, sourceWidth, sourceHeight } = images[0]!.facts
  const facts: VideoFacts = {
    width,
    height,
    sourceWidth,
    sourceHeight,
    frames: images.length,
    fps,
    seconds: images.length / fps,
  }
  const digest = createHash('sha256').update(`frames ${fps}`)
  for (const { contentKey } of images) digest.update(contentKey)
  return openedMedium<VideoMedium>({
    kind: 'video',
    files: images.flatMap(({ files }) => files),
    facts,
    exact: true,
    contentKey: digest.digest('hex'),
    bytes: videoBytes(facts),
    warnings: [],
    budget,
    decode: async (signal) => {
      const frames = await each(images, signal, async (image, _index, stop): Promise<RgbImage> => {
        const pixels = await image.decode(stop)
        image.release()
        return pixels
      })
      const timestamps = images.map((_, index) => index / fps)
      return { decoded: { frames: await unifySizes(frames), timestamps, fps }, facts, warnings: [] }
    },
    close: async () => {
      await Promise.all(images.map((image) => image[Symbol.asyncDispose]()))
    },
  })
}

/** Memory of a decoded video, bytes. */
export function videoBytes({ width, height, frames, audio }: VideoFacts): number {
  return width * height * 3 * frames + 4 * (audio?.samples ?? 0)
}

/** Works on a few at once, in order. @throws MediaError of the first that fails, with its `index` */
async function each<T, R>(
  items: readonly T[],
  signal: AbortSignal | undefined,
  work: (item: T, index: number, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const stop = new AbortController()
  const both = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
  const results: R[] = []
  const queue = items.entries()
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) {
      try {
        results[index] = await work(item, index, both)
      } catch (error) {
        const placed = error instanceof MediaError ? withOrigin(error, { index, kind: 'image' }) : error
        stop.abort(placed)
        throw placed
      }
    }
  }
  const workers = Array.from({ length: Math.min(atOnce, items.length) }, worker)
  try {
    await Promise.all(workers)
    return results
  } catch (error) {
    await Promise.allSettled(workers)
    throw signal?.aborted === true ? abortedError(signal) : (stop.signal.reason ?? error)
  }
}
