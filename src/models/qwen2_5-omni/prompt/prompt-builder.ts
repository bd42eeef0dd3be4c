import type { CheckpointFiles } from '../../../prompt/checkpoint-files.ts'
import type { PromptBuilder } from '../../../prompt/prompt-builder.ts'
export function createQwen25Prompt(_files: CheckpointFiles): PromptBuilder {
  throw new Error('TODO')
}
