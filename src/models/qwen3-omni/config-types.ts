/**
 * A validated Qwen3-Omni configuration, independent of the file's format; see config.ts.
 */

import type { Activation } from '../../nn/index.ts'
import type { DecoderConfig, ThinkerConfig } from '../decoder/config.ts'
import type { SpeechConfig } from './speech/stages.ts'

export interface AudioEncoderConfig {
  readonly melBins: number
  readonly width: number
  readonly layers: number
  readonly heads: number
  readonly feedForward: number
  readonly activation: Activation
  readonly convolutionChannels: number
  readonly outputWidth: number
  readonly maxPositions: number
  /** Mel frames per chunk of the convolutions (`2 * n_window`). */
  readonly chunkFrames: number
  /** Chunks that attend to each other (`n_window_infer / chunkFrames`). */
  readonly windowChunks: number
}

export interface VisionEncoderConfig {
  readonly layers: number
  readonly hidden: number
  readonly heads: number
  readonly feedForward: number
  readonly activation: Activation
  readonly channels: number
  readonly patch: number
  readonly temporalPatch: number
  /** `spatial_merge_size`: patches per side that become one token. */
  readonly merge: number
  readonly outputWidth: number
  /** Side of the square table of learned positions. */
  readonly positionGrid: number
  /** Layers whose output is merged and added to the thinker's first layers. */
  readonly deepstackLayers: readonly number[]
  readonly rotaryBase: number
}

export interface TalkerConfig extends DecoderConfig {
  readonly thinkerHidden: number
  /** Index of the thinker's hidden states that the talker uses; 0: the embeddings. */
  readonly acceptHiddenLayer: number
  readonly codeGroups: number
}

export interface Code2WavConfig {
  readonly layers: number
  readonly hidden: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  readonly feedForward: number
  readonly epsilon: number
  readonly attentionBias: boolean
  readonly rotaryBase: number
  /** Frames that a frame attends to, including itself. */
  readonly window: number
  readonly codebookSize: number
  readonly codeGroups: number
  readonly decoderWidth: number
  /** Of the ConvNeXt part, before the decoder. */
  readonly upsamplingRatios: readonly number[]
  /** Of the decoder blocks. */
  readonly upsampleRates: readonly number[]
}

export interface Qwen3OmniConfig {
  readonly architecture: string
  readonly audioEncoder: AudioEncoderConfig
  readonly visionEncoder: VisionEncoderConfig
  readonly thinker: ThinkerConfig
  readonly speech?: {
    readonly talker: TalkerConfig
    readonly codePredictor: DecoderConfig
    readonly code2wav: Code2WavConfig
    readonly ids: SpeechConfig
  }
}
