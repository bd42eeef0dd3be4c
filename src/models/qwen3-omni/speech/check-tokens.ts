/**
 * Checks that the turn markers in config.json match the chat template, because the talker finds turns by them.
 *
 * In: ids of a prompt with one user turn. Out: nothing, or `EngineError('bad_checkpoint')` naming the key.
 */

import { ConfigReader } from '../../config-reader.ts'
import type { SpeechConfig } from './stages.ts'

export function checkTurnTokens(ids: readonly number[], speech: SpeechConfig): void {
  const { imStartTokenId: start, userTokenId: user, assistantTokenId: assistant } = speech
  const reader = new ConfigReader({})
  const last = ids.lastIndexOf(start)
  if (last < 0 || ids.indexOf(start) === last)
    reader.fail('im_start_token_id', `is ${start}, with which the chat template does not begin each turn`)
  if (ids[last + 1] !== assistant)
    reader.fail('assistant_token_id', `is ${assistant}, but the chat template begins a reply with ${ids[last + 1]}`)
  if (!ids.some((id, at) => id === start && ids[at + 1] === user))
    reader.fail('user_token_id', `is ${user}, which the chat template does not write at the start of a user's turn`)
}
