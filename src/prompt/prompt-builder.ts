/**
 * What a model family provides for prompts: a checkpoint's tokenizer, chat template and preprocessing behind two
 * functions.
 *
 * In: messages. Out: a {@link PreparedPrompt}, or only its token counts.
 */

import type { GenerationMessage, PromptUsage, ToolDefinition } from '../contract/index.ts'
import type { AudioFeatureConfig } from './log-mel.ts'
import type { PreparedPrompt } from './prepared-prompt.ts'
import type { PromptTokenizer } from './tokenizer.ts'

export interface PromptOptions {
  /** Passed to the template as `enable_thinking`. Undefined leaves the checkpoint's default. */
  readonly thinking?: boolean | undefined
  /** The reply includes speech, for which some families use other instructions. Default false. */
  readonly speech?: boolean | undefined
  /** Functions that the reply may call; only where the builder's `tools` is true. */
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
  /** How audio is turned into features. Absent: the checkpoint takes none. */
  readonly audioFeatures?: AudioFeatureConfig
  /** Ids that end a reply. */
  readonly endTokenIds: readonly number[]
  /**
   * The whole prompt, features included. Throws `EngineError('unsupported')` for media that are not supported and the
   * signal's reason once aborted. Does not check the context length: compare `tokenIds.length`.
   */
  prepare(messages: readonly GenerationMessage[], options?: PromptOptions): Promise<PreparedPrompt>
  /** Token counts as `prepare` would give them, without decoding anything. */
  count(messages: readonly GenerationMessage[], options?: PromptOptions): Promise<PromptUsage>
}
