/**
 * Media with their sizes. They are decoded only if the header does not have the size, or when their content is needed.
 *
 * In: a part of a message. Out: its size, and its content on demand, decoded once for all readers.
 */

import { EngineError, type GenerationPart, type MonoPcm, type RgbImage } from '../contract/index.ts'
import { type DecodedMedium, decodedSize, decodeMedium, type MediumSize, statedSize } from './decoded-messages.ts'

type MediaPart = Exclude<GenerationPart, { readonly type: 'text' }>

export interface MeasuredMedium {
  readonly size: MediumSize
  /** Identifies the content: equal keys mean equal pixels and samples. */
  readonly contentKey: string
  /**
   * Its pixels or samples, which the caller then owns. Rejects as the medium does, and when the decoded size differs
   * from `size`.
   */
  read<Track extends keyof MediumTracks>(track: Track, signal?: AbortSignal): Promise<MediumTracks[Track]>
  /** Releases the content without reading it. */
  release(track: keyof MediumTracks): void
}

/** The part of a medium that is decoded separately. */
interface MediumTracks {
  /** The image, or a video's frames. */
  vision: RgbImage[]
  audio: MonoPcm
}

/** Most cached sizes of media whose headers do not have them. */
const KEPT = 1024

/** Determines the sizes of media, and caches those that required decoding. */
export class MeasuredSizes {
  readonly #known = new Map<string, MediumSize>()

  async measure(part: MediaPart, signal?: AbortSignal): Promise<MeasuredMedium> {
    const { contentKey, exact } = mediumOf(part)
    const stated = exact ? statedSize(part) : this.#known.get(contentKey)
    if (stated) return measured(part, stated, contentKey)
    const decoded = await decodeMedium(part, signal)
    checkFrames(decoded)
    const size = decodedSize(decoded)
    this.#known.set(contentKey, size)
    for (const key of this.#known.keys()) {
      if (this.#known.size <= KEPT) break
      this.#known.delete(key)
    }
    return measured(part, size, contentKey, decoded)
  }
}

function measured(part: MediaPart, size: MediumSize, contentKey: string, known?: DecodedMedium): MeasuredMedium {
  const tracks = new Tracks(part, size, known)
  return {
    size,
    contentKey,
    read: (track, signal) => tracks.read(track, signal),
    release: (track) => tracks.release(track),
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

/** Decodes once. A video has two readers, for its frames and for its audio; each part is retained until it is read. */
class Tracks implements Pick<MeasuredMedium, 'read' | 'release'> {
  readonly #part: MediaPart
  readonly #size: MediumSize
  readonly #left: Set<keyof MediumTracks>
  #decoding: Promise<Partial<MediumTracks>> | undefined

  constructor(part: MediaPart, size: MediumSize, known: DecodedMedium | undefined) {
    this.#part = part
    this.#size = size
    this.#left = tracksIn(size)
    this.#decoding = known && Promise.resolve(tracksOf(known))
  }

  async read<Track extends keyof MediumTracks>(track: Track, signal?: AbortSignal): Promise<MediumTracks[Track]> {
    this.#decoding ??= this.#decode(signal)
    const tracks = await this.#decoding
    const wanted = tracks[track]
    this.release(track)
    for (const other of ['vision', 'audio'] as const) if (!this.#left.has(other)) delete tracks[other]
    if (!wanted) throw new Error(`A medium has no ${track} to read.`)
    return wanted
  }

  release(track: keyof MediumTracks): void {
    this.#left.delete(track)
    if (this.#left.size === 0) this.#decoding = undefined
    else
      void this.#decoding?.then(
        (tracks) => delete tracks[track],
        () => undefined,
      )
  }

  async #decode(signal: AbortSignal | undefined): Promise<Partial<MediumTracks>> {
    const decoded = await decodeMedium(this.#part, signal)
    checkFrames(decoded)
    checkSize(decodedSize(decoded), this.#size)
    return tracksOf(decoded)
  }
}

function tracksIn(size: MediumSize): Set<keyof MediumTracks> {
  switch (size.type) {
    case 'image':
      return new Set(['vision'])
    case 'audio':
      return new Set(['audio'])
    case 'video':
      return new Set(size.audio ? ['vision', 'audio'] : ['vision'])
    default:
      return size satisfies never
  }
}

function tracksOf(medium: DecodedMedium): Partial<MediumTracks> {
  switch (medium.type) {
    case 'image':
      return { vision: [medium.image] }
    case 'audio':
      return { audio: medium.audio }
    case 'video': {
      const { frames, audio } = medium.video
      return { vision: [...frames], ...(audio && { audio }) }
    }
    default:
      return medium satisfies never
  }
}

function checkFrames(medium: DecodedMedium): void {
  if (medium.type !== 'video') return
  const { frames } = medium.video
  if (frames.some(({ width, height }) => width !== frames[0]!.width || height !== frames[0]!.height))
    throw new EngineError('unsupported', "all of a video's frames must have one size", { param: 'messages' })
}

/** Rejects a medium whose size differs from the one in the layout. */
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
