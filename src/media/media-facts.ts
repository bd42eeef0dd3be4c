/** Converts a decoder's replies to the facts of the engine contract. */

import type { AudioFacts, ImageFacts, MonoPcm, VideoFacts, VideoFrames } from '../contract/index.ts'
import { audioRate } from './audio/rate.ts'
import type { DoneHeader, ImageHeader, VideoFacts as DecodedVideoFacts } from './decoder/messages.ts'

export function imageFacts({ width, height, sourceWidth, sourceHeight }: ImageHeader): ImageFacts {
  return { width, height, sourceWidth, sourceHeight }
}

export function audioFacts({ sampleRate, samples }: MonoPcm): AudioFacts {
  return { sampleRate, samples: samples.length }
}

/** Facts of a decoded video. @param reported by the decoder */
export function videoFacts(reported: DecodedVideoFacts, { frames, fps, audio }: VideoFrames): VideoFacts {
  const [first] = frames
  return {
    width: first?.width ?? 0,
    height: first?.height ?? 0,
    sourceWidth: reported.width,
    sourceHeight: reported.height,
    frames: frames.length,
    fps,
    seconds: reported.durationSeconds,
    source: { frames: reported.sourceFrameCount, fps: reported.sourceFps },
    ...(audio && { audio: audioFacts(audio) }),
  }
}

/** Facts from a probe, which may differ slightly from those of the decoded video. */
export function probedVideoFacts({ video, frames, audioSeconds = 0 }: DoneHeader): VideoFacts {
  return {
    width: frames!.width,
    height: frames!.height,
    sourceWidth: video!.width,
    sourceHeight: video!.height,
    frames: frames!.count,
    fps: video!.sampledFps,
    seconds: video!.durationSeconds,
    source: { frames: video!.sourceFrameCount, fps: video!.sourceFps },
    ...(audioSeconds > 0 && {
      audio: { sampleRate: audioRate, samples: Math.round(audioSeconds * audioRate) },
    }),
  }
}
