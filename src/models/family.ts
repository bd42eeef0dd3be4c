/**
 * What a model family offers to whoever loads checkpoints.
 *
 * In: a parsed config.json. Out: which weights are wanted (without loading any), how the checkpoint may name them, and, once they are
 * loaded, the model's stages.
 */

import type { ParameterDeclaration } from '../nn/index.ts'
import type { Backend, WeightSet } from '../tensor/index.ts'
import type { OmniModel, SpeechConfig } from './stages.ts'

/** How a family's checkpoints name things. */
export interface CheckpointNaming {
  /** Stored tensors that no graph uses, by canonical name, and why. */
  readonly ignored: readonly { readonly pattern: RegExp; readonly reason: string }[]
  /** Rewrites other spellings of stored names (a part saved alone, newer transformers' module paths) to the hub's. */
  canonicalName(name: string): string
}

export interface ModelOptions {
  /** Type of the KV caches. Default f16; f32 for parity with f32 references. */
  readonly cacheType?: 'f16' | 'f32'
}

/** A configuration, read and checked. */
export interface ModelDescription {
  readonly architecture: string
  /** Most tokens of prompt and reply together. */
  readonly contextLength: number
  readonly naming: CheckpointNaming
  /** Every weight that the graphs use. */
  readonly declarations: readonly ParameterDeclaration[]
  /** Absent when the checkpoint has no speech. */
  readonly speech?: SpeechConfig
  /** Stages over loaded weights, which must outlive them. Dispose the model before the weights. */
  build(backend: Backend, weights: WeightSet, options?: ModelOptions): OmniModel
}

export interface ModelFamily {
  /** As in `architectures` of config.json. */
  readonly architectures: readonly string[]
  /** Throws `EngineError('bad_checkpoint')` naming the key that is wrong. */
  read(json: unknown): ModelDescription
}
