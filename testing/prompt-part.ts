/** Prompts of tests, cut into the chunks of a prefill. */
import type { ThinkerInput } from '../src/models/stages.ts'

export type Prompt = Pick<ThinkerInput, 'tokenIds' | 'positions' | 'features'>

/** Tokens `start` to `end` of a prompt, as a prefill chunk. `hidden`: width of an embedding. */
export function promptPart(
  { tokenIds, positions, features }: Prompt,
  start: number,
  end: number,
  hidden: number,
): Prompt {
  const tokens = tokenIds.length
  const cut = {
    tokenIds: tokenIds.slice(start, end),
    positions: Float32Array.from(
      [0, 1, 2].flatMap((axis) => [...positions.subarray(axis * tokens + start, axis * tokens + end)]),
    ),
  }
  const first = features?.rows.findIndex((row) => row >= start) ?? -1
  const past = (features?.rows.findLastIndex((row) => row < end) ?? -1) + 1
  if (!features || first < 0 || past <= first) return cut
  const values = (all: Float32Array): Float32Array => all.slice(first * hidden, past * hidden)
  return {
    ...cut,
    features: {
      rows: features.rows.slice(first, past).map((row) => row - start),
      embeddings: values(features.embeddings),
      ...(features.deepstack && { deepstack: features.deepstack.map(values) }),
    },
  }
}
