/** Media that are decoded already, for tests that start from pixels or samples. */

import { createHash } from 'node:crypto'
import type {
  AnyMedium,
  AudioFacts,
  AudioMedium,
  ImageMedium,
  MonoPcm,
  RgbImage,
  VideoFrames,
  VideoMedium,
} from '../src/contract/index.ts'

export function decodedImage(image: RgbImage): ImageMedium {
  const { width, height } = image
  return {
    kind: 'image',
    facts: { width, height, sourceWidth: width, sourceHeight: height },
    ...held(image, [image.data], [width, height]),
  }
}

export function decodedAudio(pcm: MonoPcm): AudioMedium {
  return { kind: 'audio', facts: audioFacts(pcm), ...held(pcm, [pcm.samples], [pcm.sampleRate]) }
}

export function decodedVideo(video: VideoFrames): VideoMedium {
  const { frames, fps, audio } = video
  const [width, height] = [frames[0]?.width ?? 0, frames[0]?.height ?? 0]
  return {
    kind: 'video',
    facts: {
      width,
      height,
      sourceWidth: width,
      sourceHeight: height,
      frames: frames.length,
      fps,
      seconds: frames.length / fps,
      ...(audio && { audio: audioFacts(audio) }),
    },
    ...held(video, [...frames.map(({ data }) => data), ...(audio ? [audio.samples] : [])], [width, height, fps]),
  }
}

function audioFacts({ sampleRate, samples }: MonoPcm): AudioFacts {
  return { sampleRate, samples: samples.length }
}

function held<T>(
  decoded: T,
  arrays: readonly (Uint8Array | Float32Array)[],
  numbers: readonly number[],
): Pick<AnyMedium, 'files' | 'exact' | 'contentKey' | 'release'> & { decode(signal?: AbortSignal): Promise<T> } {
  const digest = createHash('sha256').update(numbers.join(' '))
  for (const array of arrays) digest.update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
  return {
    files: [],
    exact: true,
    contentKey: digest.digest('hex'),
    decode: async (signal) => {
      signal?.throwIfAborted()
      return decoded
    },
    release: () => undefined,
  }
}
