/**
 * A validated Qwen2.5-Omni configuration, independent of the file's format; see config.ts.
 */

import type { Activation } from '../../nn/index.ts'
import type { DecoderConfig, ThinkerConfig } from '../decoder/config.ts'
import type { Token2WavConfig } from './token2wav/config.ts'

export interface AudioEncoderConfig {
  readonly melBins: number
  readonly width: number
  readonly layers: number
  readonly heads: number
  readonly feedForward: number
  readonly activation: Activation
  readonly outputWidth: number
  /** Mel frames per chunk (`2 * n_window`). Frames attend only within their chunk. */
  readonly chunkFrames: number
}

export interface VisionEncoderConfig {
  readonly layers: number
  readonly hidden: number
  readonly heads: number
  readonly feedForward: number
  readonly channels: number
  readonly patch: number
  readonly temporalPatch: number
  /** `spatial_merge_size`: patches per side that become one token. */
  readonly merge: number
  readonly outputWidth: number
  /** Tokens per side of an attention window. */
  readonly window: number
  /** Layers that attend over a whole frame instead of a window. */
  readonly fullLayers: ReadonlySet<number>
  readonly rotaryBase: number
}

export interface TalkerConfig extends DecoderConfig {
  /** Width of its input rows and of its codec embeddings: the thinker's. */
  readonly inputWidth: number
}

/** Ids for speech, from talker_config and thinker_config. */
export interface SpeechIds {
  /** Placeholders of audio, image and video in the prompt. */
  readonly media: readonly number[]
  readonly textEnd: number
  readonly textPad: number
  readonly codecPad: number
  readonly codecBegin: number
  readonly codecEnd: number
  /** Represents each prompt row in the repetition penalty. */
  readonly codecMask: number
}

export interface Qwen25OmniConfig {
  readonly architecture: string
  readonly audioEncoder: AudioEncoderConfig
  readonly visionEncoder: VisionEncoderConfig
  readonly thinker: ThinkerConfig
  readonly speech?: {
    readonly talker: TalkerConfig
    readonly token2wav: Token2WavConfig
    readonly ids: SpeechIds
  }
}
