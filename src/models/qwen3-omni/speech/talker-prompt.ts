/**
 * Selects the prompt tokens of the talker's prefix, and their positions in its sequence.
 *
 * In: a prepared prompt and the checkpoint's special ids. Out: the plan of the talker's prefix: every user turn (text
 * as embeddings, media as hidden states of the thinker), then nine rows that open the spoken reply. Pure. Reference:
 * transformers `Qwen3OmniMoeForConditionalGeneration.generate` (user mask, assistant start) and
 * `_get_talker_assistant_parts`.
 */

import type { SpeechConfig } from './stages.ts'
import type { PreparedPrompt } from '../../../prompt/prepared-prompt.ts'
import { type RowRange, talkerPositions } from './talker-positions.ts'

/** Rows of the opening: three of the assistant's header, four of padding, begin of speech, first text. */
export const openingRows = 9

export interface TalkerPlan {
  /** Prompt rows of user turns, ascending. */
  readonly userRows: Int32Array
  /** 1 for user rows that are media placeholders, whose input is the thinker's hidden state. */
  readonly isMedia: Uint8Array
  /** The three ids of the reply's header: `<|im_start|>`, `assistant`, newline. */
  readonly header: Int32Array
  /** Positions of the user rows and the opening, [3, userRows.length + openingRows]. */
  readonly positions: Float32Array
  /** Position of the talker's first generated code. */
  readonly nextPosition: number
}

/** Throws when the prompt does not end with an assistant header. */
export function planTalkerPrompt(
  prompt: Pick<PreparedPrompt, 'tokenIds' | 'positions' | 'nextPosition' | 'features'>,
  config: SpeechConfig,
): TalkerPlan {
  const { tokenIds } = prompt
  const length = tokenIds.length
  const media = new Uint8Array(length)
  for (const feature of prompt.features) for (const row of feature.rows) media[row] = 1

  const turns: RowRange[] = []
  let assistantStart = -1
  let turnStart = 0
  while (turnStart < length) {
    let turnEnd = turnStart + 1
    while (turnEnd < length && tokenIds[turnEnd] !== config.imStartTokenId) turnEnd += 1
    const role = tokenIds[Math.min(turnStart + 1, length - 1)]
    if (tokenIds[turnStart] === config.imStartTokenId && role === config.assistantTokenId) assistantStart = turnStart
    if (role === config.userTokenId) turns.push({ from: turnStart, until: turnEnd })
    turnStart = turnEnd
  }
  if (assistantStart < 0 || assistantStart + 3 > length)
    throw new Error('The prompt does not end in an assistant header, so there is nothing to speak.')

  const kept = turns.flatMap(({ from, until }) => Array.from({ length: until - from }, (_, index) => from + index))
  const user = talkerPositions(prompt, turns)
  const rows = kept.length + openingRows
  const positions = new Float32Array(3 * rows)
  for (let axis = 0; axis < 3; axis += 1) {
    positions.set(user.positions.subarray(axis * kept.length, (axis + 1) * kept.length), axis * rows)
    for (let row = 0; row < openingRows; row += 1) positions[axis * rows + kept.length + row] = user.next + row
  }
  return {
    userRows: Int32Array.from(kept),
    isMedia: Uint8Array.from(kept, (row) => media[row]!),
    header: tokenIds.slice(assistantStart, assistantStart + 3),
    positions,
    nextPosition: user.next + openingRows,
  }
}
