/**
 * Prefills the common prefix of all prompts that begin with given messages, such as a fixed system prompt.
 *
 * In: the messages. Out: a shared prefix in the pool, reused by requests of all scopes. It contains nothing that a
 * caller sent.
 */

import type { GenerationRequest } from '../contract/index.ts'
import type { ThinkerStage } from '../models/stages.ts'
import type { PreparedPrompt } from '../prompt/prepared-prompt.ts'
import type { SequencePool } from './sequence-pool.ts'
import { commonPrefix, positionsOf, runOf } from '../models/token-run.ts'

/** Tokens per step. */
const CHUNK = 256

export interface SharedPrefixOptions {
  readonly messages: GenerationRequest['messages']
  readonly prepare: (request: GenerationRequest, signal: AbortSignal) => Promise<PreparedPrompt>
  readonly thinker: ThinkerStage
  readonly pool: SequencePool
  readonly signal: AbortSignal
}

export async function prefillShared({ messages, prepare, thinker, pool, signal }: SharedPrefixOptions): Promise<void> {
  // The common prefix of two prompts with different user messages contains only the messages and the template.
  const [one, other] = await Promise.all(['a', '1'].map((text) => prepare(probe(messages, text), signal)))
  if (!one || !other) return
  const run = runOf(one, pool.mediaOf(one), [], Infinity)
  const length = commonPrefix(run, runOf(other, pool.mediaOf(other), [], Infinity))
  if (length === 0) return
  await pool.share(runOf(one, pool.mediaOf(one), [], length), async (sequence) => {
    for (let from = 0; from < length; from += CHUNK) {
      const until = Math.min(length, from + CHUNK)
      await thinker.forward(
        [
          {
            sequence,
            tokenIds: one.tokenIds.slice(from, until),
            positions: positionsOf(one.positions, from, until),
            logits: 'none',
            hidden: false,
          },
        ],
        signal,
      )
    }
    return new Map()
  })
}

function probe(messages: GenerationRequest['messages'], text: string): GenerationRequest {
  return {
    id: 'shared prefix',
    model: '',
    messages: [...messages, { role: 'user', content: [{ type: 'text', text }] }],
    sampling: { temperature: 0, topP: 1, presencePenalty: 0, repetitionPenalty: 1, seed: 0 },
    maxTokens: 1,
    stop: [],
  }
}
