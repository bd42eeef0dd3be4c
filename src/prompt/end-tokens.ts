/**
 * The ids that end a reply: the template's end of turn, and those in generation_config.json.
 */

import { EngineError } from '../contract/index.ts'
import type { CheckpointFiles } from './checkpoint-files.ts'
import type { PromptTokenizer } from './tokenizer.ts'

/**
 * @param endOfTurn text of the token that ends a turn.
 * @param fallback its id if the tokenizer does not have the token.
 * @throws EngineError `bad_checkpoint` if there is no end token, because no reply would end.
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
