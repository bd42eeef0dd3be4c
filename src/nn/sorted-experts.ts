/**
 * Tokens sorted by the experts they chose, so that each expert multiplies its tokens in one matrix product.
 *
 * In: the choices of all tokens, read back from the router. Out: the rows of each expert, and the rows of each token's
 * results. The library's own product with chosen experts computes repacked weights row by row, which is slower.
 */

import type { GraphBuilder, Inputs, Tensor } from '../tensor/index.ts'

/** A run of rows of one expert. */
export interface ExpertRows {
  readonly expert: number
  readonly start: number
  readonly count: number
}

export interface SortedTokens {
  /** Token of each row, sorted by expert. */
  readonly rows: Int32Array
  readonly parts: readonly ExpertRows[]
  /** Row of each token's n-th choice: [used][tokens]. */
  readonly places: readonly Int32Array[]
}

/**
 * @param chosen [used, tokens], as the graph has it: a token's choices side by side.
 * @param multiple rows of an expert are filled up to a multiple of this with its last token's, which is not read.
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
    const filled = Math.ceil(count / multiple) * multiple
    parts.push({ expert, start, count: filled })
    start += filled
  })
  const rows = new Int32Array(start)
  const places = Array.from({ length: used }, () => new Int32Array(tokens))
  for (let token = 0; token < tokens; token += 1) {
    for (let choice = 0; choice < used; choice += 1) {
      const expert = chosen[token * used + choice]!
      const row = next[expert]!
      next[expert] = row + 1
      rows[row] = token
      places[choice]![token] = row
    }
  }
  for (const part of parts) {
    const until = next[part.expert]!
    rows.fill(rows[until - 1]!, until, part.start + part.count)
  }
  return { rows, parts, places }
}

/** Graph inputs of {@link SortedTokens}: their declaration and their data. */
export function sortedInputs({ rows, places }: SortedTokens): Inputs {
  return Object.fromEntries([
    ['experts.rows', rows],
    ...places.map((place, i) => [`experts.places.${i}`, place] as const),
  ])
}

/** The graph's end of {@link sortedInputs}. */
export function declareSorted(
  g: GraphBuilder,
  { rows, places }: SortedTokens,
): { rows: Tensor<'i32'>; places: Tensor<'i32'>[] } {
  return {
    rows: g.input('experts.rows', 'i32', [rows.length]),
    places: places.map((place, i) => g.input(`experts.places.${i}`, 'i32', [place.length])),
  }
}
