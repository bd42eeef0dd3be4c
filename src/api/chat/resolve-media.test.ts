import { describe, expect, it } from 'vitest'
import { createCatalogue } from '../../catalogue/index.ts'
import type { ImageMedium } from '../../contract/index.ts'
import type { Opened } from '../../media/index.ts'
import { decodedImage } from '../../../testing/decoded-media.ts'
import { ApiError } from '../../protocol/index.ts'
import type { PlanMessage } from './check-rules.ts'
import { type MediaPort, resolveMedia } from './resolve-media.ts'

const { rules, normal } = createCatalogue('intl').find('qwen3-omni-flash')!
const limits = { media: rules.media, tokens: rules.tokens, maxInput: normal.maxInput }
const signal = new AbortController().signal

const images = (count: number): PlanMessage[] => [
  {
    role: 'user',
    parts: Array.from({ length: count }, (_, index) => ({
      type: 'image' as const,
      source: `http://a/${index}.png`,
      param: `messages.0.content.${index}.image_url`,
    })),
  },
]

/** Images of a size; the requested pixels, per call. */
function port(width: number, height: number) {
  const asked: number[] = []
  const unused = () => Promise.reject(new Error('not asked for'))
  const media: MediaPort = {
    image: async (_, given): Promise<Opened<ImageMedium>> => {
      asked.push(given?.maxOutputPixels ?? 0)
      return {
        ...decodedImage({ width: 1, height: 1, data: new Uint8Array(3) }),
        facts: { width: 1, height: 1, sourceWidth: width, sourceHeight: height },
        warnings: [],
        [Symbol.asyncDispose]: async () => undefined,
      }
    },
    audio: unused,
    video: unused,
    frames: unused,
  }
  return { media, asked }
}

describe('images', () => {
  it('are fetched no further once they take more tokens than the model', async () => {
    const { media, asked } = port(4000, 4000)
    const error = await resolveMedia(images(2000), limits, media, signal).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(ApiError)
    expect(error).toMatchObject({ status: 400, message: expect.stringContaining('input length should be [1, 49152]') })
    // 40 of 1,227 tokens fit; a few more are in progress.
    expect(asked.length).toBeLessThan(40 + 5)
  })

  it('keep their pixels when few, and never fewer than are paid for when many', async () => {
    const few = port(64, 64)
    await resolveMedia(images(2), limits, few.media, signal)
    expect(few.asked).toEqual([16_777_216, 16_777_216])
    const many = port(64, 64)
    const resolved = await resolveMedia(images(500), limits, many.media, signal)
    expect(new Set(many.asked)).toEqual(new Set([1280 * 32 * 32]))
    expect(resolved.counted()[0]?.parts).toHaveLength(500)
  })
})
