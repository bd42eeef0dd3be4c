/**
 * What the checkpoint says about preprocessing, from whichever files it brings.
 *
 * In: config.json, preprocessor_config.json, video_preprocessor_config.json, processor_config.json (the newer single
 * file). Out: one typed record. What a file leaves out takes the default of the transformers class.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor`, `Qwen2VLImageProcessor`, `Qwen2VLVideoProcessor`,
 * `WhisperFeatureExtractor`.
 */

import { EngineError } from '../../../contract/index.ts'
import type { ResizeStyle } from '../../../prompt/bicubic-resize.ts'
import { type CheckpointFiles, isObject, type JsonObject } from '../../../prompt/checkpoint-files.ts'
import type { AudioFeatureConfig } from '../../../prompt/log-mel.ts'
import type { PixelLimits } from '../../../prompt/smart-resize.ts'
import type { VisionFeatureConfig } from '../../../prompt/vision-patches.ts'

export interface ProcessorConfig {
  readonly audio: AudioFeatureConfig & {
    /** Half of the encoder's convolution chunk, in mel frames: audio_config.n_window. */
    readonly window: number
  }
  readonly image: VisionFeatureConfig
  readonly video: VisionFeatureConfig
  /** Temporal positions per second of video, and the clock on which sound and frames are interleaved. */
  readonly positionRate: number
  /** Rotary positions merge patches by vision_config.spatial_merge_size. */
  readonly positionMerge: number
  readonly tokens: SpecialTokens
  /** Most tokens the checkpoint was made for. */
  readonly contextLength: number
}

/** Ids from thinker_config. */
interface SpecialTokens {
  readonly image: number
  readonly video: number
  readonly audio: number
  readonly visionStart: number
  readonly visionEnd: number
  readonly audioStart: number
  readonly audioEnd: number
}

/** Reads the files. Throws `bad_checkpoint` naming the file and key that is missing or of the wrong type. */
export function readProcessorConfig(files: CheckpointFiles): ProcessorConfig {
  const config = new Section('config.json', files.requireJson('config.json'))
  const thinker = config.child('thinker_config') ?? config
  const text = thinker.child('text_config') ?? thinker
  const whole = files.json('processor_config.json')
  const processor = new Section('processor_config.json', whole ?? {})
  const preprocessor = new Section('preprocessor_config.json', files.json('preprocessor_config.json') ?? {})
  const videoFile = files.json('video_preprocessor_config.json')
  const imageSection = processor.child('image_processor') ?? preprocessor
  const audioSection = processor.child('feature_extractor') ?? preprocessor
  const videoSection =
    processor.child('video_processor') ??
    (videoFile === undefined ? preprocessor : new Section('video_preprocessor_config.json', videoFile))
  const videoSize = processor.child('videos_kwargs')?.child('size')
  return {
    audio: {
      bands: audioSection.number('feature_size') ?? thinker.child('audio_config')?.number('num_mel_bins') ?? 128,
      sampleRate: audioSection.number('sampling_rate') ?? 16_000,
      hop: audioSection.number('hop_length') ?? 160,
      fftLength: audioSection.number('n_fft') ?? 400,
      window: thinker.child('audio_config')?.number('n_window') ?? processor.number('n_window') ?? 50,
    },
    image: visionConfig(imageSection, 'pillow', limitsOf(imageSection) ?? { min: 56 * 56, max: 28 * 28 * 1280 }),
    video: {
      // The processor's own limits for frames come before its video part's.
      ...visionConfig(videoSection, 'torch', limitsOf(videoSize) ?? { min: 128 * 32 * 32, max: 768 * 32 * 32 }),
      ...(videoSection.value('cap_pixels_per_frame') === true
        ? { clipTokens: videoSection.number('max_video_tokens') ?? 128_000 }
        : {}),
    },
    positionRate: thinker.number('position_id_per_seconds') ?? processor.number('position_id_per_seconds') ?? 13,
    positionMerge: thinker.child('vision_config')?.number('spatial_merge_size') ?? 2,
    tokens: {
      image: thinker.require('image_token_id'),
      video: thinker.require('video_token_id'),
      audio: thinker.require('audio_token_id'),
      visionStart: thinker.require('vision_start_token_id'),
      visionEnd: thinker.number('vision_end_token_id') ?? -1,
      audioStart: thinker.require('audio_start_token_id'),
      audioEnd: thinker.number('audio_end_token_id') ?? -1,
    },
    contextLength: text.number('max_position_embeddings') ?? 32_768,
  }
}

function visionConfig(section: Section, resize: ResizeStyle, limits: PixelLimits): VisionFeatureConfig {
  return {
    patchSize: section.number('patch_size') ?? 14,
    temporalPatchSize: section.number('temporal_patch_size') ?? 2,
    mergeSize: section.number('merge_size') ?? 2,
    limits,
    resize,
    rescale: section.number('rescale_factor') ?? 1 / 255,
    mean: section.triple('image_mean') ?? [0.48145466, 0.4578275, 0.40821073],
    deviation: section.triple('image_std') ?? [0.26862954, 0.26130258, 0.27577711],
  }
}

/** Old files say min_pixels and max_pixels, newer ones size.shortest_edge and size.longest_edge. The old names win. */
function limitsOf(section: Section | undefined): PixelLimits | undefined {
  const size = section?.child('size') ?? section
  const min = section?.number('min_pixels') ?? size?.number('shortest_edge')
  const max = section?.number('max_pixels') ?? size?.number('longest_edge')
  return min === undefined || max === undefined ? undefined : { min, max }
}

/** One JSON object with the name that error messages call it by. */
class Section {
  readonly #name: string
  readonly #values: JsonObject
  constructor(name: string, values: JsonObject) {
    this.#name = name
    this.#values = values
  }
  value(key: string): unknown {
    return this.#values[key]
  }
  child(key: string): Section | undefined {
    const value = this.#values[key]
    return isObject(value) ? new Section(`${this.#name}: ${key}`, value) : undefined
  }
  number(key: string): number | undefined {
    const value = this.#values[key]
    if (value === undefined || value === null) return undefined
    if (typeof value === 'number' && Number.isFinite(value)) return value
    throw new EngineError('bad_checkpoint', `${this.#name}: ${key} must be a number, not ${JSON.stringify(value)}`)
  }
  require(key: string): number {
    const value = this.number(key)
    if (value === undefined) throw new EngineError('bad_checkpoint', `${this.#name} lacks ${key}`)
    return value
  }
  triple(key: string): [number, number, number] | undefined {
    const value = this.#values[key]
    if (value === undefined || value === null) return undefined
    if (Array.isArray(value) && value.length === 3) {
      const [a, b, c]: unknown[] = value
      if (typeof a === 'number' && typeof b === 'number' && typeof c === 'number') return [a, b, c]
    }
    throw new EngineError('bad_checkpoint', `${this.#name}: ${key} must be three numbers`)
  }
}
