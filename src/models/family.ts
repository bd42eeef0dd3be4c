/**
 * The interface of a model family for loading checkpoints.
 *
 * In: a checkpoint's small files. Out: its modalities, the weights it needs and their names, its prompt builder, and,
 * once weights are loaded, the model.
 */

import type { InputModality } from '../contract/index.ts'
import type { CheckpointFiles } from '../prompt/checkpoint-files.ts'
import type { PromptBuilder } from '../prompt/prompt-builder.ts'
import type { ParameterDeclaration } from '../nn/index.ts'
import type { Backend, WeightSet } from '../tensor/index.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { SpeechFacts, SpeechOptions } from './speech.ts'
import type { OmniModel } from './stages.ts'

/** How a family's checkpoints name things. */
export interface CheckpointNaming {
  /** Stored tensors that no graph uses, by canonical name, with the reason. */
  readonly ignored: readonly { readonly pattern: RegExp; readonly reason: string }[]
  /** Rewrites other spellings of stored names (a part saved alone, newer transformers' module paths) to the hub's. */
  canonicalName(name: string): string
}

export interface ModelOptions {
  /** Type of the KV caches. Default f16; f32 for parity with f32 references. */
  readonly cacheType?: 'f16' | 'f32'
  readonly speech?: SpeechOptions
  /** Memory for the KV caches. Default: no limit. */
  readonly budget?: MemoryBudget
}

/** Everything known about a checkpoint from its files, which have been read and validated. */
export interface ModelDescription<Model extends OmniModel = OmniModel> {
  readonly architecture: string
  /** Supported input modalities. */
  readonly reads: readonly InputModality[]
  /** Absent without speech. */
  readonly speaks?: SpeechFacts
  /** Most tokens of prompt and reply. */
  readonly contextLength: number
  readonly naming: CheckpointNaming
  /** Every weight that the graphs use, each with the coarsest format it may be stored in (`precision`). */
  readonly declarations: readonly ParameterDeclaration[]
  /**
   * Tokenizer, template and preprocessing. Throws `bad_checkpoint` naming the file that is missing, invalid or
   * contradicts another.
   */
  prompt(): PromptBuilder
  /** The model over loaded weights, which must outlive it. Dispose the model before the weights. */
  build(backend: Backend, weights: WeightSet, options?: ModelOptions): Model
}

export interface ModelFamily<Model extends OmniModel = OmniModel> {
  /** As in `architectures` of config.json. */
  readonly architectures: readonly string[]
  /** Names of files that are not text. */
  readonly binaryFiles?: readonly string[]
  /** Throws `EngineError('bad_checkpoint')` naming the file and key that is wrong. */
  read(files: CheckpointFiles): ModelDescription<Model>
}
