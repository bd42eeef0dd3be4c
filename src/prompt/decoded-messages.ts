/**
 * Decodes the media of messages, and determines the sizes for a prompt's layout.
 *
 * In: a request's messages, whose media are files. Out: media as pixels and samples, or only their sizes.
 */

import type {
  AudioFacts,
  GenerationMessage,
  GenerationPart,
  ImageFacts,
  MonoPcm,
  RgbImage,
  VideoFacts,
  VideoFrames,
} from '../contract/index.ts'

type MediaPart = Exclude<GenerationPart, { readonly type: 'text' }>

export type DecodedMedium =
  | { readonly type: 'image'; readonly image: RgbImage }
  | { readonly type: 'audio'; readonly audio: MonoPcm }
  | { readonly type: 'video'; readonly video: VideoFrames }

/** The sizes that determine a medium's tokens. */
export type MediumSize =
  | ({ readonly type: 'image' } & Pick<ImageFacts, 'width' | 'height'>)
  | ({ readonly type: 'audio' } & AudioFacts)
  | ({ readonly type: 'video' } & Pick<VideoFacts, 'width' | 'height' | 'frames' | 'fps' | 'audio'>)

/** The media of a conversation, in the order of its messages. */
export function mediaParts(messages: readonly GenerationMessage[]): MediaPart[] {
  return messages.flatMap(({ content }) => content.flatMap((part) => (part.type === 'text' ? [] : [part])))
}

/** The size from the header, without decoding. */
export function statedSize(part: MediaPart): MediumSize {
  switch (part.type) {
    case 'image':
      return { type: 'image', ...part.image.facts }
    case 'audio':
      return { type: 'audio', ...part.audio.facts }
    case 'video':
      return { type: 'video', ...part.video.facts }
    default:
      return part satisfies never
  }
}

/** Decodes a medium. Rejects as the medium does. */
export async function decodeMedium(part: MediaPart, signal?: AbortSignal): Promise<DecodedMedium> {
  switch (part.type) {
    case 'image':
      return { type: 'image', image: await part.image.decode(signal) }
    case 'audio':
      return { type: 'audio', audio: await part.audio.decode(signal) }
    case 'video':
      return { type: 'video', video: await part.video.decode(signal) }
    default:
      return part satisfies never
  }
}

/** The decoded size, which can differ from the header's. For frames of different sizes: that of the first one. */
export function decodedSize(medium: DecodedMedium): MediumSize {
  switch (medium.type) {
    case 'image':
      return { type: 'image', width: medium.image.width, height: medium.image.height }
    case 'audio':
      return { type: 'audio', ...audioSize(medium.audio) }
    case 'video': {
      const { frames, fps, audio } = medium.video
      const [first] = frames
      return {
        type: 'video',
        width: first?.width ?? 0,
        height: first?.height ?? 0,
        frames: frames.length,
        fps,
        ...(audio && { audio: audioSize(audio) }),
      }
    }
    default:
      return medium satisfies never
  }
}

function audioSize({ sampleRate, samples }: MonoPcm): AudioFacts {
  return { sampleRate, samples: samples.length }
}
