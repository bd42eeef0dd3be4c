/**
 * The prompt interface of a model family: a checkpoint's tokenizer, chat template and preprocessing.
 *
 * In: messages. Out: a {@link PreparedPrompt}, or only its token counts.
 */

import type { GenerationMessage, PromptUsage, ToolDefinition } from '../contract/index.ts'
import type { AudioFeatureConfig } from './log-mel.ts'
import type { PreparedPrompt } from './prepared-prompt.ts'
import type { PromptTokenizer } from './tokenizer.ts'

export interface PromptOptions {
  /** Passed to the template as `enable_thinking`. Undefined: the checkpoint's default. */
  readonly thinking?: boolean | undefined
  /** Whether the reply includes speech, for which some families change the prompt. Default false. */
  readonly speech?: boolean | undefined
  /** Functions that the reply may call. Supported only if the builder's `tools` is true. */
  readonly tools?: readonly ToolDefinition[] | undefined
  readonly signal?: AbortSignal | undefined
}

export interface PromptBuilder {
  readonly tokenizer: PromptTokenizer
  /** `switch`: `thinking` changes the prompt. `fixed`: the checkpoint always, or never, thinks. */
  readonly thinking: 'fixed' | 'switch'
  /** Whether a reply can reason: the template can be switched to it, or always opens a `<think>` block. */
  readonly canThink: boolean
  /** Whether the template supports tools and the vocabulary has the tokens around a call. */
  readonly tools: boolean
  /** Settings of audio features. Absent: the checkpoint does not support audio. */
  readonly audioFeatures?: AudioFeatureConfig
  /** Ids that end a reply. */
  readonly endTokenIds: readonly number[]
  /**
   * Prepares the whole prompt, including features. Throws `EngineError('unsupported')` for unsupported media, and the
   * signal's reason once aborted. The context length is not checked: compare `tokenIds.length`.
   */
  prepare(messages: readonly GenerationMessage[], options?: PromptOptions): Promise<PreparedPrompt>
  /** The token counts of `prepare`, without decoding media. */
  count(messages: readonly GenerationMessage[], options?: PromptOptions): Promise<PromptUsage>
}
