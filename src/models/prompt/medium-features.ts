/**
 * A medium's features: where they go in the prompt, under which key they may be reused, and how they are computed
 * otherwise.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor.__call__`, `Qwen2_5OmniProcessor.__call__`.
 */

import { logMel, melFrames } from '../../prompt/log-mel.ts'
import type { MeasuredMedium } from '../../prompt/measured-media.ts'
import type { PromptFeature } from '../../prompt/prepared-prompt.ts'
import { visionPatches } from '../../prompt/vision-patches.ts'
import type { ProcessorConfig } from './processor-config.ts'
import type { MediumShape, PromptLayout } from './prompt-layout.ts'

/** How many samples, silence after it included, the mel of an audio is computed over. */
type PaddedLength = (samples: number) => number

/** A video gives its frames' features, then its audio's. */
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
  // The last windows reach beyond the audio: its mirrored end, or silence up to the longest one.
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
