/**
 * Media with their sizes, decoded only where the header cannot tell them, or when what is in them is read.
 *
 * In: a part of a message. Out: its size, and its content on demand, decoded once for all who read it.
 */

import { EngineError, type GenerationPart } from '../contract/index.ts'
import { type DecodedMedium, decodedSize, decodeMedium, type MediumSize, statedSize } from './decoded-messages.ts'

type MediaPart = Exclude<GenerationPart, { readonly type: 'text' }>

export interface MeasuredMedium {
  readonly size: MediumSize
  /** Names the content: equal keys, equal pixels and samples. */
  readonly contentKey: string
  /** Rejects as the medium does, and when it decodes to another size than `size`. */
  read(signal?: AbortSignal): Promise<DecodedMedium>
}

/** Sizes kept by content, of media whose headers do not tell. */
const KEPT = 1024

/** Measures media, and remembers what it had to decode for. */
export class MeasuredSizes {
  readonly #known = new Map<string, MediumSize>()

  async measure(part: MediaPart, signal?: AbortSignal): Promise<MeasuredMedium> {
    const { contentKey, exact } = mediumOf(part)
    const stated = exact ? statedSize(part) : this.#known.get(contentKey)
    if (stated) return { size: stated, contentKey, read: reader(part, stated, undefined) }
    const decoded = await decodeMedium(part, signal)
    checkFrames(decoded)
    const size = decodedSize(decoded)
    this.#known.set(contentKey, size)
    for (const key of this.#known.keys()) {
      if (this.#known.size <= KEPT) break
      this.#known.delete(key)
    }
    return { size, contentKey, read: reader(part, size, decoded) }
  }
}

function mediumOf(part: MediaPart): { readonly contentKey: string; readonly exact: boolean } {
  switch (part.type) {
    case 'image':
      return part.image
    case 'audio':
      return part.audio
    case 'video':
      return part.video
    default:
      return part satisfies never
  }
}

/** Decodes once. A video is read twice, for its frames and for its audio, and held until then. */
function reader(part: MediaPart, size: MediumSize, known: DecodedMedium | undefined): MeasuredMedium['read'] {
  let left = size.type === 'video' && size.audio ? 2 : 1
  let decoding = known && Promise.resolve(known)
  return async (signal) => {
    decoding ??= decodeMedium(part, signal)
    const decoded = await decoding
    left -= 1
    if (left <= 0) decoding = undefined
    checkFrames(decoded)
    checkSize(decodedSize(decoded), size)
    return decoded
  }
}

function checkFrames(medium: DecodedMedium): void {
  if (medium.type !== 'video') return
  const { frames } = medium.video
  if (frames.some(({ width, height }) => width !== frames[0]!.width || height !== frames[0]!.height))
    throw new EngineError('unsupported', "all of a video's frames must have one size", { param: 'messages' })
}

/** What was laid out by a size cannot take another. */
function checkSize(decoded: MediumSize, laidOut: MediumSize): void {
  const [found, wanted] = [describe(decoded), describe(laidOut)]
  if (found === wanted) return
  throw new EngineError('internal', `a medium that was said to be ${wanted} decoded to ${found}`)
}

function describe(size: MediumSize): string {
  switch (size.type) {
    case 'image':
      return `an image of ${size.width}x${size.height}`
    case 'audio':
      return `audio of ${size.samples} samples`
    case 'video':
      return `a video of ${size.frames} frames of ${size.width}x${size.height} with ${size.audio?.samples ?? 'no'} samples of audio`
    default:
      return size satisfies never
  }
}
