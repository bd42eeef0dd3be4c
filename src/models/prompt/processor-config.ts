/**
 * Reads the preprocessing settings of a checkpoint from its configuration files.
 *
 * In: config.json, preprocessor_config.json, video_preprocessor_config.json, processor_config.json (the newer single
 * file). Out: one typed record. Missing values come from config.json, or are the default of the transformers class.
 *
 * Reference: transformers `Qwen3OmniMoeProcessor`, `Qwen2_5OmniProcessor`, `Qwen2VLImageProcessor`,
 * `Qwen2VLVideoProcessor`, `WhisperFeatureExtractor`.
 */

import type { ResizeStyle } from '../../prompt/bicubic-resize.ts'
import type { CheckpointFiles } from '../../prompt/checkpoint-files.ts'
import type { AudioFeatureConfig } from '../../prompt/log-mel.ts'
import type { PixelLimits } from '../../arithmetic/smart-resize.ts'
import type { VisionFeatureConfig } from '../../prompt/vision-patches.ts'
import { ConfigReader } from '../config-reader.ts'

export interface ProcessorConfig {
  readonly audio: AudioFeatureConfig & {
    /** Half of the encoder's convolution chunk, in mel frames: audio_config.n_window. */
    readonly window: number
    /** Most samples that the checkpoint's feature extractor supports. */
    readonly longest: number
  }
  readonly image: VisionFeatureConfig
  readonly video: VisionFeatureConfig
  /** Temporal positions per second of video, and the clock on which audio and frames are interleaved. */
  readonly positionRate: number
  /** Seconds of a video and its audio per interleaved chunk: `seconds_per_chunk`. */
  readonly chunkSeconds: number
  /** Rotary positions merge patches by vision_config.spatial_merge_size. */
  readonly positionMerge: number
  readonly tokens: SpecialTokens
  /** The checkpoint's context length, in tokens. */
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

/** Settings of a family that its files do not contain. */
export interface ProcessorDefaults {
  readonly positionRate: number
  /** Half of the audio encoder's chunk, in mel frames. */
  readonly window: number
  /** Samples that shorter audio is padded to with silence. Default: what the transform needs. */
  readonly shortestAudio?: number
  /** Pixels of a video's frames. */
  readonly videoLimits: PixelLimits
  /** Whether the frames of a video share a budget of pixels. */
  readonly capsFrames: boolean
  /** Keys of the placeholders' ids in thinker_config, the first present. */
  readonly placeholders: Readonly<Record<'image' | 'audio' | 'video', readonly [string, ...string[]]>>
}

/** The rate at which audio is decoded, in Hz, and the longest supported transform: four seconds. */
const DECODED_RATE = 16_000
const LONGEST_FFT = 4 * DECODED_RATE
const POSITION_RATES = { above: 0, most: 10_000 }

/**
 * Reads the files. Throws `bad_checkpoint` naming the file and key that is missing, of the wrong type, or contradicts
 * config.json's values of the encoders.
 */
export function readProcessorConfig(files: CheckpointFiles, defaults: ProcessorDefaults): ProcessorConfig {
  const reader = (name: string): ConfigReader => new ConfigReader(files.json(name) ?? {}, '', name)
  const config = new ConfigReader(files.requireJson('config.json'))
  const thinker = config.has('thinker_config') ? config.object('thinker_config') : config
  const text = thinker.has('text_config') ? thinker.object('text_config') : thinker
  const [audioEncoder, visionEncoder] = [thinker.part('audio_config'), thinker.part('vision_config')]
  const processor = reader('processor_config.json')
  const preprocessor = reader('preprocessor_config.json')
  const ownPart = (key: string, otherwise: ConfigReader): ConfigReader =>
    processor.has(key) ? processor.object(key) : otherwise
  const image = ownPart('image_processor', preprocessor)
  const audio = ownPart('feature_extractor', preprocessor)
  const videoFile = files.json('video_preprocessor_config.json') ? reader('video_preprocessor_config.json') : preprocessor
  const video = ownPart('video_processor', videoFile)
  const melBins = audioEncoder.integer('num_mel_bins', { fallback: 128 })
  const bands = audio.integer('feature_size', { fallback: melBins })
  if (bands !== melBins) audio.fail('feature_size', `is ${bands} but config.json: ${audioEncoder.path}.num_mel_bins is ${melBins}`)
  const sampleRate = audio.integer('sampling_rate', { fallback: DECODED_RATE })
  if (sampleRate !== DECODED_RATE) audio.fail('sampling_rate', `is ${sampleRate}; audio is decoded at ${DECODED_RATE} Hz only`)
  const fftLength = audio.integer('n_fft', { fallback: 400, most: LONGEST_FFT })
  if (fftLength % 2 !== 0) audio.fail('n_fft', `should be even, is ${fftLength}`)
  const most = text.integer('vocab_size', { fallback: 2 ** 31 }) - 1
  const placeholder = (kind: keyof ProcessorDefaults['placeholders']): number => {
    const keys = defaults.placeholders[kind]
    return thinker.integer(keys.find((key) => thinker.has(key)) ?? keys[0], { least: 0, most })
  }
  return {
    audio: {
      bands,
      sampleRate,
      hop: audio.integer('hop_length', { fallback: 160 }),
      fftLength,
      window: audioEncoder.integer('n_window', { fallback: processor.integer('n_window', { fallback: defaults.window }) }),
      longest: audio.integer('n_samples', { fallback: audio.integer('chunk_length', { fallback: 300 }) * sampleRate }),
      ...(defaults.shortestAudio !== undefined && { shortest: defaults.shortestAudio }),
    },
    image: visionConfig(image, visionEncoder, 'pillow', limitsOf(image) ?? { min: 56 * 56, max: 28 * 28 * 1280 }),
    video: {
      // The processor's limits for frames take precedence over those in its video section.
      ...visionConfig(
        video,
        visionEncoder,
        'torch',
        limitsOf(processor.part('videos_kwargs').part('size')) ?? defaults.videoLimits,
      ),
      ...(video.boolean('cap_pixels_per_frame', defaults.capsFrames) && {
        videoTokens: video.integer('max_video_tokens', { fallback: 128_000 }),
      }),
    },
    positionRate: thinker.number(
      'position_id_per_seconds',
      processor.number('position_id_per_seconds', defaults.positionRate, POSITION_RATES),
      POSITION_RATES,
    ),
    chunkSeconds: thinker.number('seconds_per_chunk', 2, { least: 0.01 }),
    positionMerge: visionEncoder.integer('spatial_merge_size', { fallback: 2 }),
    tokens: {
      image: placeholder('image'),
      video: placeholder('video'),
      audio: placeholder('audio'),
      visionStart: thinker.integer('vision_start_token_id', { least: 0, most }),
      visionEnd: thinker.integer('vision_end_token_id', { least: 0, most, fallback: -1 }),
      audioStart: thinker.integer('audio_start_token_id', { least: 0, most }),
      audioEnd: thinker.integer('audio_end_token_id', { least: 0, most, fallback: -1 }),
    },
    contextLength: text.integer('max_position_embeddings', { fallback: 32_768 }),
  }
}

/**
 * `encoder`: vision_config, which the preprocessing must match, because patches of another size do not fit its weights.
 */
function visionConfig(
  reader: ConfigReader,
  encoder: ConfigReader,
  resize: ResizeStyle,
  limits: PixelLimits,
): VisionFeatureConfig {
  const agreed = (key: string, encoderKey: string, otherwise: number): number => {
    const wanted = encoder.has(encoderKey) ? encoder.side(encoderKey) : undefined
    const value = reader.has(key) ? reader.side(key) : (wanted ?? otherwise)
    if (wanted !== undefined && value !== wanted)
      reader.fail(key, `is ${value} but config.json: ${encoder.path}.${encoderKey} is ${wanted}`)
    return value
  }
  return {
    patchSize: agreed('patch_size', 'patch_size', 14),
    temporalPatchSize: agreed('temporal_patch_size', 'temporal_patch_size', 2),
    mergeSize: agreed('merge_size', 'spatial_merge_size', 2),
    limits,
    resize,
    rescale: reader.number('rescale_factor', 1 / 255, { above: 0, most: 1 }),
    mean: reader.triple('image_mean') ?? [0.48145466, 0.4578275, 0.40821073],
    deviation: deviationOf(reader) ?? [0.26862954, 0.26130258, 0.27577711],
  }
}

/** Reads image_std, by which pixels are divided. */
function deviationOf(reader: ConfigReader): readonly [number, number, number] | undefined {
  const deviation = reader.triple('image_std')
  if (deviation?.some((value) => !(value > 0))) reader.fail('image_std', `should be above 0, is ${JSON.stringify(deviation)}`)
  return deviation
}

/**
 * Reads min_pixels and max_pixels, or size.shortest_edge and size.longest_edge of newer files. The former take
 * precedence.
 */
function limitsOf(reader: ConfigReader): PixelLimits | undefined {
  const size = reader.has('size') ? reader.object('size') : reader
  const limit = (old: string, newer: string): number | undefined =>
    reader.has(old) ? reader.integer(old) : size.has(newer) ? size.integer(newer) : undefined
  const min = limit('min_pixels', 'shortest_edge')
  const max = limit('max_pixels', 'longest_edge')
  if (min === undefined || max === undefined) return undefined
  if (min > max) reader.fail(reader.has('min_pixels') ? 'min_pixels' : 'size', `has a least of ${min} pixels above its most of ${max}`)
  return { min, max }
}
