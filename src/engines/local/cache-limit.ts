/**
 * What the memory for caches holds, known before any request: the shortest reply has to fit, and a reply's default
 * length is one that fits.
 *
 * In: a model and the limit of its caches in bytes. Out: tokens, or an error that names what is needed.
 */

import { EngineError } from '../../contract/index.ts'
import type { OmniModel } from '../../models/index.ts'

/** Tokens by which caches grow, which the shortest reply takes. */
const BLOCK = 256

/**
 * Tokens of one request's prompt and reply that `limit` bytes hold.
 * @param asked whether `limit` is the setting's, and not the machine's free memory.
 * @throws EngineError when not even the shortest reply fits, speech included.
 */
export function tokensThatFit({ thinker, speech }: OmniModel, limit: number, asked: boolean): number {
  using sequence = thinker.newSequence(thinker.contextLength)
  const block = Math.min(BLOCK, thinker.contextLength)
  const bytes = sequence.bytesFor(block)
  const least = bytes + (speech?.minBytes ?? 0)
  if (limit < least) {
    const needs = `the caches of the shortest ${speech ? 'spoken reply' : 'reply'} of this checkpoint take ${least} bytes`
    if (asked)
      throw new EngineError('unsupported', `--cache-memory is ${limit}, but ${needs}; give at least that, or 0.`)
    throw new EngineError('bad_checkpoint', `${needs} and ${Math.floor(limit)} are free for them; free some memory.`)
  }
  return Math.min(thinker.contextLength, Math.floor(limit / bytes) * block)
}
