/**
 * Checks the memory limit of caches before the first request: it must fit the shortest reply, and it limits the default
 * length of a reply.
 *
 * In: a model and the limit of its caches in bytes. Out: tokens that fit, or an error that names the bytes needed.
 */

import { EngineError } from '../../contract/index.ts'
import type { OmniModel } from '../../models/index.ts'

/** Tokens of one cache block, which the shortest reply needs. */
const BLOCK = 256

/**
 * Tokens of prompt and reply of one request that fit into `limit` bytes.
 * @param isSetting whether `limit` comes from a setting, and not from the machine's free memory.
 * @throws EngineError when the shortest reply, including its speech, does not fit.
 */
export function tokensThatFit({ thinker, speech }: OmniModel, limit: number, isSetting: boolean): number {
  using sequence = thinker.newSequence(thinker.contextLength)
  const block = Math.min(BLOCK, thinker.contextLength)
  const bytes = sequence.bytesFor(block)
  const least = bytes + (speech?.minBytes ?? 0)
  if (limit < least) {
    const needs = `the caches of the shortest ${speech ? 'spoken reply' : 'reply'} of this checkpoint take ${least} bytes`
    if (isSetting)
      throw new EngineError('unsupported', `--cache-memory is ${limit}, but ${needs}; give at least that, or 0.`)
    throw new EngineError('bad_checkpoint', `${needs}, but only ${Math.floor(limit)} are available; free some memory.`)
  }
  return Math.min(thinker.contextLength, Math.floor(limit / bytes) * block)
}
