/**
 * A medium's features: their rows in the prompt, their cache key, and a function that computes the encoder's input.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor.__call__`, `Qwen2_5OmniProcessor.__call__`.
 */

import { logMel, melFrames } from '../../prompt/log-mel.ts'
import type { MeasuredMedium } from '../../prompt/measured-media.ts'
import type { PromptFeature } from '../../prompt/prepared-prompt.ts'
import { visionPatches } from '../../prompt/vision-patches.ts'
import type { ProcessorConfig } from './processor-config.ts'
import type { MediumShape, PromptLayout } from './prompt-layout.ts'

/** Samples over which the mel spectrogram of an audio is computed, including silence after it. */
type PaddedLength = (samples: number) => number

/** The features of a medium. For a video: those of its frames, then those of its audio. */
export function mediumFeatures(
  medium: MeasuredMedium,
  shape: MediumShape,
  { vision, audio }: PromptLayout['rows'][number],
  config: ProcessorConfig,
  paddedLength: PaddedLength,
): PromptFeature[] {
  const features: PromptFeature[] = []
  const { size } = medium
  if (vision && shape.type !== 'audio')
    features.push({
      type: 'vision',
      rows: vision,
      grid: shape.grid,
      key: `${size.type} ${medium.contentKey}`,
      load: async (signal) => {
        const frames = await medium.read('vision', signal)
        return (await visionPatches(frames, config[shape.type], signal)).patches
      },
      release: () => medium.release('vision'),
    })
  const track = size.type === 'audio' ? size : size.type === 'video' ? size.audio : undefined
  if (audio && track) features.push(audioFeature(medium, track.samples, audio, config, paddedLength))
  return features
}

function audioFeature(
  medium: MeasuredMedium,
  samples: number,
  rows: Int32Array,
  { audio: config }: ProcessorConfig,
  paddedLength: PaddedLength,
): PromptFeature {
  const padded = paddedLength(samples)
  const frames = melFrames(samples, padded, config)
  // The last windows extend beyond the audio, into its mirrored end or into silence up to the longest audio.
  const silence = Math.min(padded - samples, config.fftLength / 2)
  return {
    type: 'audio',
    rows,
    frames,
    source: { contentKey: medium.contentKey, samples, padded },
    key: `audio ${medium.contentKey} ${silence} ${frames}`,
    load: async (signal) => {
      const { samples: pcm } = await medium.read('audio', signal)
      return (await logMel(pcm, config, padded, signal)).mel
    },
    release: () => medium.release('audio'),
  }
}
