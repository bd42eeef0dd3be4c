/**
 * The ids that end a reply: the template's end of turn, and what generation_config.json lists.
 */

import { EngineError } from '../contract/index.ts'
import type { CheckpointFiles } from './checkpoint-files.ts'
import type { PromptTokenizer } from './tokenizer.ts'

/**
 * @param endOfTurn spelling of the token that ends a turn.
 * @param fallback its id where the tokenizer does not know the spelling.
 * @throws EngineError `bad_checkpoint` when there is neither: no reply would ever end.
 */
export function readEndTokens(
  files: CheckpointFiles,
  tokenizer: PromptTokenizer,
  endOfTurn: string,
  fallback?: unknown,
): number[] {
  const end = tokenizer.idOf(endOfTurn) ?? fallback
  if (typeof end !== 'number')
    throw new EngineError(
      'bad_checkpoint',
      `tokenizer.json in ${files.location} has no ${endOfTurn} token, so no reply would ever end.`,
    )
  const named = files.json('generation_config.json')?.['eos_token_id']
  const listed = Array.isArray(named) ? named : [named]
  return [...new Set([end, ...listed.filter((id): id is number => Number.isInteger(id))])]
}
