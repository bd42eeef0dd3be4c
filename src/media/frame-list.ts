/**
 * A video given as a list of images.
 *
 * In: sources and a function that opens one. Out: one medium. Two images are opened or decoded at a time, so that a
 * long list leaves decoders for other requests. The first failure cancels the rest and names its index.
 */

import { createHash } from 'node:crypto'
import type { RgbImage, VideoFacts, VideoMedium } from '../contract/index.ts'
import { abortedError, MediaError, withOrigin } from './errors.ts'
import { unifySizes } from './image/unify.ts'
import type { Semaphore } from './semaphore.ts'
import { openedMedium, type OpenedImage, type OpenedVideo } from './opened-medium.ts'

/** Images of a list that are opened or decoded at the same time. */
const concurrency = 2

/** Opens every image. @throws MediaError with `index` */
export async function openFrames(
  sources: readonly string[],
  open: (source: string, signal: AbortSignal) => Promise<OpenedImage>,
  signal: AbortSignal | undefined,
): Promise<OpenedImage[]> {
  const opened: (OpenedImage | undefined)[] = []
  try {
    return await mapConcurrently(sources, signal, async (source, index, stop) => {
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
 * Makes one video of the images. Frames of another size are scaled to the first one's.
 *
 * @param images opened without a memory budget, because `budget` counts the whole list
 * @param fps frame rate of the list
 */
export function frameList(images: readonly OpenedImage[], fps: number, budget: Semaphore): OpenedVideo {
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
      const frames = await mapConcurrently(images, signal, async (image, _index, stop): Promise<RgbImage> => {
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

/** Memory of a decoded video, in bytes. */
export function videoBytes({ width, height, frames, audio }: VideoFacts): number {
  return width * height * 3 * frames + 4 * (audio?.samples ?? 0)
}

/** Maps `items` with limited concurrency. @throws MediaError of the first item that fails, with its `index` */
async function mapConcurrently<T, R>(
  items: readonly T[],
  signal: AbortSignal | undefined,
  work: (item: T, index: number, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const stop = new AbortController()
  const combined = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
  const results: R[] = []
  const queue = items.entries()
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) {
      try {
        results[index] = await work(item, index, combined)
      } catch (error) {
        const reason = error instanceof MediaError ? withOrigin(error, { index, kind: 'image' }) : error
        stop.abort(reason)
        throw reason
      }
    }
  }
  const workers = Array.from({ length: Math.min(concurrency, items.length) }, worker)
  try {
    await Promise.all(workers)
    return results
  } catch (error) {
    await Promise.allSettled(workers)
    throw signal?.aborted === true ? abortedError(signal) : (stop.signal.reason ?? error)
  }
}
