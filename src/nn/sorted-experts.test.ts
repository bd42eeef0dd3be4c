import { expect, it } from 'vitest'
import { sortByExpert } from './sorted-experts.ts'

it('gives each expert consecutive rows, and each token the rows of its experts', () => {
  // Four tokens with two choices of five experts; no token chose expert 3.
  const { tokenOfRow, parts, rowOfChoice } = sortByExpert(Int32Array.of(1, 4, 0, 1, 4, 2, 1, 0), 2, 5, 1)
  expect(parts).toEqual([
    { expert: 0, start: 0, count: 2 },
    { expert: 1, start: 2, count: 3 },
    { expert: 2, start: 5, count: 1 },
    { expert: 4, start: 6, count: 2 },
  ])
  expect([...tokenOfRow]).toEqual([1, 3, 0, 1, 3, 2, 0, 2])
  expect(rowOfChoice.map((rows) => [...rows])).toEqual([
    [2, 0, 7, 4],
    [6, 3, 5, 1],
  ])
})

it('pads with rows that are not read', () => {
  const chosen = Int32Array.of(1, 4, 0, 1, 4, 2, 1, 0)
  const { tokenOfRow, parts, rowOfChoice } = sortByExpert(chosen, 2, 5, 4)
  expect(parts.map(({ start, count }) => [start, count])).toEqual([
    [0, 4],
    [4, 4],
    [8, 4],
    [12, 4],
  ])
  expect([...tokenOfRow]).toEqual([1, 3, 3, 3, 0, 1, 3, 3, 2, 2, 2, 2, 0, 2, 2, 2])
  for (const [choice, rows] of rowOfChoice.entries()) {
    for (const [token, row] of rows.entries()) {
      expect(tokenOfRow[row]).toBe(token)
      const part = parts.find(({ start, count }) => row >= start && row < start + count)
      expect(part?.expert).toBe(chosen[token * 2 + choice])
    }
  }
})
