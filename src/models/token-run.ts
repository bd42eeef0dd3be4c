/**
 * The tokens in a sequence's KV cache, to determine the prefix that another prompt can reuse.
 *
 * A token's keys and values depend on the tokens up to it, their positions, and the media that replace placeholders
 * among them. Two runs share a prefix as far as all three are equal. Pure.
 */

import type { PreparedPrompt } from '../prompt/prepared-prompt.ts'

/** Rows whose embeddings one medium's features replace. */
export interface MediaRows {
  /** Ascending. */
  readonly rows: Int32Array
  /** Equal keys mean equal features. Undefined: different from all others. */
  readonly key: string | undefined
}

export interface TokenRun {
  readonly tokenIds: Int32Array
  /** [3, tokens] */
  readonly positions: Float32Array
  readonly media: readonly MediaRows[]
}

/** Length of the common prefix of two runs, in tokens. */
export function commonPrefix(left: TokenRun, right: TokenRun): number {
  const most = Math.min(left.tokenIds.length, right.tokenIds.length)
  let length = 0
  while (length < most && sameToken(left, right, length)) length += 1
  return Math.min(length, sameMedia(left.media, right.media, length), sameMedia(right.media, left.media, length))
}

function sameToken(left: TokenRun, right: TokenRun, row: number): boolean {
  if (left.tokenIds[row] !== right.tokenIds[row]) return false
  for (let axis = 0; axis < 3; axis += 1) {
    const one = left.positions[axis * left.tokenIds.length + row]
    if (one !== right.positions[axis * right.tokenIds.length + row]) return false
  }
  return true
}

/** The first row, at most `length`, at which `media` and `others` differ. */
function sameMedia(media: readonly MediaRows[], others: readonly MediaRows[], length: number): number {
  let same = length
  for (const { rows, key } of media) {
    const [first] = rows
    if (first === undefined || first >= same) continue
    const other = others.find((candidate) => candidate.rows[0] === first)
    if (other === undefined || key === undefined || other.key !== key) {
      same = first
      continue
    }
    for (const [index, row] of rows.entries()) {
      if (row >= same) break
      if (other.rows[index] !== row) same = row
    }
  }
  return same
}

/** The first `length` tokens of a prompt and the ids generated after it. */
export function runOf(
  prompt: Pick<PreparedPrompt, 'tokenIds' | 'positions' | 'nextPosition'>,
  media: readonly MediaRows[],
  generated: readonly number[],
  length: number,
): TokenRun {
  const given = prompt.tokenIds.length
  const all = given + generated.length
  const count = Math.min(length, all)
  const tokenIds = new Int32Array(count)
  const positions = new Float32Array(3 * count)
  const fromPrompt = Math.min(count, given)
  tokenIds.set(prompt.tokenIds.subarray(0, fromPrompt))
  for (let row = given; row < count; row += 1) tokenIds[row] = generated[row - given]!
  for (let axis = 0; axis < 3; axis += 1) {
    positions.set(prompt.positions.subarray(axis * given, axis * given + fromPrompt), axis * count)
    for (let row = given; row < count; row += 1) positions[axis * count + row] = prompt.nextPosition + row - given
  }
  return { tokenIds, positions, media: media.filter(({ rows }) => (rows[0] ?? count) < count) }
}

/** Columns [from, until) of positions [3, tokens]: [3, until - from]. */
export function positionsOf(positions: Float32Array, from: number, until: number): Float32Array {
  const tokens = positions.length / 3
  const chunk = new Float32Array(3 * (until - from))
  for (let axis = 0; axis < 3; axis += 1)
    chunk.set(positions.subarray(axis * tokens + from, axis * tokens + until), axis * (until - from))
  return chunk
}
