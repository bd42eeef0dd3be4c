/**
 * Sorts tokens by their experts, so that each expert multiplies its tokens in one matrix product.
 *
 * In: the experts of all tokens, as read from the router. Out: the rows of each expert, and the rows of each token's
 * results. ggml's own product with experts (`mul_mat_id`) computes repacked weights row by row, which is slower.
 */

import type { GraphBuilder, Inputs, Tensor } from '../tensor/index.ts'

/** The consecutive rows of one expert. */
export interface ExpertRows {
  readonly expert: number
  readonly start: number
  readonly count: number
}

export interface SortedTokens {
  /** The token of each row; rows are sorted by expert. */
  readonly tokenOfRow: Int32Array
  readonly parts: readonly ExpertRows[]
  /** The row of each token's n-th expert: [used][tokens]. */
  readonly rowOfChoice: readonly Int32Array[]
}

/**
 * @param chosen expert indices [used, tokens]; the `used` choices of a token are contiguous
 * @param multiple each expert's rows are padded to a multiple of this by repeating its last row; padding is not read
 */
export function sortByExpert(chosen: Int32Array, used: number, experts: number, multiple: number): SortedTokens {
  const tokens = chosen.length / used
  const counts = new Int32Array(experts)
  for (const expert of chosen) counts[expert]! += 1
  const parts: ExpertRows[] = []
  const next = new Int32Array(experts)
  let start = 0
  counts.forEach((count, expert) => {
    next[expert] = start
    if (count === 0) return
    const padded = Math.ceil(count / multiple) * multiple
    parts.push({ expert, start, count: padded })
    start += padded
  })
  const tokenOfRow = new Int32Array(start)
  const rowOfChoice = Array.from({ length: used }, () => new Int32Array(tokens))
  for (let token = 0; token < tokens; token += 1) {
    for (let choice = 0; choice < used; choice += 1) {
      const expert = chosen[token * used + choice]!
      const row = next[expert]!
      next[expert] = row + 1
      tokenOfRow[row] = token
      rowOfChoice[choice]![token] = row
    }
  }
  for (const part of parts) {
    const end = next[part.expert]!
    tokenOfRow.fill(tokenOfRow[end - 1]!, end, part.start + part.count)
  }
  return { tokenOfRow, parts, rowOfChoice }
}

/** Data of the graph inputs that {@link declareSorted} declares. */
export function sortedInputs({ tokenOfRow, rowOfChoice }: SortedTokens): Inputs {
  return Object.fromEntries([
    ['experts.tokenOfRow', tokenOfRow],
    ...rowOfChoice.map((rows, i) => [`experts.rowOfChoice.${i}`, rows] as const),
  ])
}

/** Declares the graph inputs of sorted tokens. */
export function declareSorted(
  g: GraphBuilder,
  { tokenOfRow, rowOfChoice }: SortedTokens,
): { tokenOfRow: Tensor<'i32'>; rowOfChoice: Tensor<'i32'>[] } {
  return {
    tokenOfRow: g.input('experts.tokenOfRow', 'i32', [tokenOfRow.length]),
    rowOfChoice: rowOfChoice.map((rows, i) => g.input(`experts.rowOfChoice.${i}`, 'i32', [rows.length])),
  }
}
